package @PACKAGE@

/**
 * What was heard at one time.
 *
 * @property seconds from the start to the end of the window.
 * @property probabilities of the network for this window alone.
 * @property lostSamples so far, because the network did not keep up with the microphone.
 */
class Decision(
    val seconds: Double,
    val probabilities: FloatArray,
    val judgement: Judgement,
    val lostSamples: Long
)

/**
 * Decides every [Settings.HOP] samples on the latest window of a stream.
 *
 * @param ring where the stream is written.
 * @param predict probabilities of a window, [Settings.SAMPLES] 16-bit samples.
 */
class Listener(
    private val ring: SampleRing,
    rules: ListenRules = ListenRules(),
    private val predict: (ShortArray) -> FloatArray
) {
    private val judge = Judge(rules)
    private val latest = ShortArray(KEPT)
    private var end = FIRST_END
    private var lostSamples = 0L

    /** The next decision; null until its samples are there. Windows whose samples have given way are left out. */
    fun next(): Decision? {
        while (!ring.copy(end, latest)) {
            if (ring.written < end) return null
            end += Settings.HOP
            lostSamples += Settings.HOP
        }
        val level = meanSquare(latest, if (end == FIRST_END) FIRST_END.toInt() else Settings.LEVEL_SAMPLES)
        val probabilities = predict(latest.copyOfRange(KEPT - Settings.SAMPLES, KEPT))
        val seconds = end / Settings.SAMPLE_RATE.toDouble()
        end += Settings.HOP
        return Decision(seconds, probabilities, judge.judge(probabilities, level), lostSamples)
    }

    companion object {
        /** Samples that a decision looks at. */
        val KEPT = maxOf(Settings.SAMPLES, Settings.LEVEL_SAMPLES)
        private const val FIRST_END = (Settings.SAMPLES - Settings.BEFORE).toLong()
    }
}
