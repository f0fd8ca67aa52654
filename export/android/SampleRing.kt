package @PACKAGE@

/** The latest [capacity] samples of a stream. One thread may write while another copies. */
class SampleRing(private val capacity: Int) {
    private val samples = ShortArray(capacity)

    /** Samples written since the start. */
    @get:Synchronized
    var written = 0L
        private set

    /** Append the first [count] of [block]; the oldest samples give way. */
    @Synchronized
    fun write(block: ShortArray, count: Int) {
        for (place in 0 until count) samples[((written + place) % capacity).toInt()] = block[place]
        written += count
    }

    /**
     * Fill [into] with the samples before number [end] of the stream, with zeros where it had not begun.
     *
     * @return false where some of them have given way already, and where [end] lies ahead.
     */
    @Synchronized
    fun copy(end: Long, into: ShortArray): Boolean {
        val start = end - into.size
        if (end > written || maxOf(start, 0) < written - capacity) return false
        for (place in into.indices) {
            val number = start + place
            into[place] = if (number < 0) 0 else samples[(number % capacity).toInt()]
        }
        return true
    }
}
