package @PACKAGE@

import kotlin.math.floor
import kotlin.math.log10

/**
 * The rules of `edgeprune listen`, in the same whole numbers, so that both come to the same decision.
 *
 * @property smoothing weight of what was heard before, in 32768ths; 0 (none) to 32767.
 * @property threshold smoothed probability below which no class is named, in 65536ths; 0: a class is always named.
 * @property gate mean square of 16-bit samples around their mean below which it is silent; 0: never.
 */
class ListenRules(
    val smoothing: Int = Settings.SMOOTHING,
    val threshold: Int = Settings.THRESHOLD,
    val gate: Long = Settings.GATE
) {
    init {
        require(smoothing in 0 until WEIGHT_ONE) { "smoothing $smoothing is not 0 to ${WEIGHT_ONE - 1}" }
        require(threshold in 0..PROBABILITY_ONE) { "threshold $threshold is not 0 to $PROBABILITY_ONE" }
    }

    companion object {
        const val WEIGHT_ONE = 1 shl 15
        const val PROBABILITY_ONE = 1 shl 16
    }
}

/** A class was heard, none is likely enough, or the window is quieter than the gate. */
enum class Heard { CLASS, NONE, SILENCE }

/**
 * What was heard in one window.
 *
 * @property best the likeliest class, also where none is likely enough; -1 in silence.
 * @property smoothed probabilities over the windows since the last silence, in 65536ths; zeros in silence.
 * @property meanSquare of the window's 16-bit samples around their mean.
 * @property likely the classes that reach the threshold, the likeliest first; without a threshold `best` alone.
 */
class Judgement(
    val heard: Heard,
    val best: Int,
    val smoothed: LongArray,
    val meanSquare: Long,
    val likely: List<Int>
) {
    /** The smoothed probability of `best`; 0 in silence. */
    val percent: Long
        get() = if (heard == Heard.SILENCE) 0 else (100 * smoothed[best] + ONE / 2) / ONE

    /** dBFS, full scale is amplitude 1; minus infinity for digital silence. */
    val level: Double
        get() = 10 * log10(meanSquare / (32768.0 * 32768.0))

    private companion object {
        const val ONE = ListenRules.PROBABILITY_ONE.toLong()
    }
}

/** Applies the rules to one window after the other. */
class Judge(private val rules: ListenRules) {
    /** Null at the start and after silence: what comes next is judged by itself. */
    private var before: LongArray? = null

    /** @param meanSquare of the window, see [meanSquare]. */
    fun judge(probabilities: FloatArray, meanSquare: Long): Judgement {
        if (meanSquare < rules.gate) {
            before = null
            return Judgement(Heard.SILENCE, -1, LongArray(probabilities.size), meanSquare, emptyList())
        }
        val one = ListenRules.PROBABILITY_ONE
        val latest = LongArray(probabilities.size) {
            floor(probabilities[it].toDouble() * one + 0.5).toLong().coerceIn(0L, one.toLong())
        }
        val smoothed = smooth(before ?: latest, latest)
        before = smoothed
        val order = smoothed.indices.sortedByDescending { smoothed[it] } // of equals, the first stays first
        val candidates = if (rules.threshold > 0) order else order.take(1)
        val likely = candidates.filter { smoothed[it] >= rules.threshold }
        return Judgement(if (likely.isEmpty()) Heard.NONE else Heard.CLASS, order[0], smoothed, meanSquare, likely)
    }

    private fun smooth(before: LongArray, latest: LongArray): LongArray {
        val one = ListenRules.WEIGHT_ONE.toLong()
        return LongArray(latest.size) {
            (rules.smoothing * before[it] + (one - rules.smoothing) * latest[it] + one / 2) / one
        }
    }
}

/** Mean square of the last [count] samples around their mean, both rounded; a constant offset is no sound. */
fun meanSquare(samples: ShortArray, count: Int): Long {
    if (count == 0) return 0
    var sum = 0L
    var squares = 0L
    for (place in samples.size - count until samples.size) {
        val sample = samples[place].toLong()
        sum += sample
        squares += sample * sample
    }
    val mean = Math.floorDiv(2 * sum + count, 2L * count)
    return Math.floorDiv(squares - 2 * mean * sum + count * mean * mean, count.toLong())
}
