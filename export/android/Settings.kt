package @PACKAGE@

/** How the network is fed, and the rules by which it decides unless the app gives others. */
object Settings {
    /** Hz, mono. */
    const val SAMPLE_RATE = @SAMPLE_RATE@

    /** Samples that the network sees at once: a window. */
    const val SAMPLES = @SAMPLES@

    /** Of these, the first that lie before the frames' centres: zeros where the sound begins with the window. */
    const val BEFORE = @BEFORE@

    /** Samples from one decision to the next. */
    const val HOP = @HOP@

    /** The latest samples whose level is compared with the gate. */
    const val LEVEL_SAMPLES = @LEVEL_SAMPLES@

    /** Weight of what was heard before: @SMOOTHING_TEXT@ in 32768ths. */
    const val SMOOTHING = @SMOOTHING@

    /** Smoothed probability below which no class is named: @THRESHOLD_TEXT@ in 65536ths. */
    const val THRESHOLD = @THRESHOLD@

    /** Mean square of 16-bit samples below which it is silent: @GATE_TEXT@. */
    const val GATE = @GATE@L
}
