package @PACKAGE@

import android.annotation.SuppressLint
import android.content.Context
import android.media.AudioFormat
import android.media.AudioManager
import android.media.AudioRecord
import android.media.MediaRecorder
import android.os.Process
import kotlin.concurrent.thread
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn

private const val QUEUE_SECONDS = 10
private const val PAUSE_MS = 20L
private const val SILENT_MS = 5000L

/**
 * What the microphone hears, a decision every [Settings.HOP] samples, until the collector is cancelled.
 *
 * The app must hold the permission RECORD_AUDIO. The flow fails where there is no microphone, and where it stops.
 *
 * @param predict probabilities of a window, [Settings.SAMPLES] 16-bit samples.
 */
fun decisions(
    context: Context,
    rules: ListenRules = ListenRules(),
    predict: (ShortArray) -> FloatArray
): Flow<Decision> =
    flow<Decision> {
        val ring = SampleRing(Listener.KEPT + QUEUE_SECONDS * Settings.SAMPLE_RATE)
        val listener = Listener(ring, rules, predict)
        val microphone = Microphone(context, ring)
        try {
            microphone.start()
            var heardSamples = 0L
            var waitedMs = 0L
            while (true) {
                val error = microphone.error // of before, so that what was heard until then is decided
                val decision = listener.next()
                if (decision != null) {
                    emit(decision)
                    continue
                }
                waitedMs = if (ring.written > heardSamples) 0 else waitedMs + PAUSE_MS
                heardSamples = ring.written
                check(error == 0) { "the microphone stopped (AudioRecord error $error)" }
                check(waitedMs < SILENT_MS) { "the microphone gives no samples" }
                delay(PAUSE_MS)
            }
        } finally {
            microphone.close()
        }
    }.flowOn(Dispatchers.Default)

/** Writes what the phone records into a ring, on a thread of its own. */
class Microphone(context: Context, private val ring: SampleRing) : AutoCloseable {
    private val record = open(source(context))
    private var recorder: Thread? = null

    @Volatile
    private var running = true

    /** Of `AudioRecord.read`, negative; 0 while all is well. */
    @Volatile
    var error = 0
        private set

    fun start() {
        record.startRecording()
        recorder = thread(name = "microphone") {
            Process.setThreadPriority(Process.THREAD_PRIORITY_URGENT_AUDIO)
            val block = ShortArray(maxOf(1, Settings.SAMPLE_RATE / 50))
            while (running && error == 0) {
                val count = record.read(block, 0, block.size)
                if (count >= 0) ring.write(block, count) else error = count
            }
        }
    }

    override fun close() {
        running = false
        if (record.recordingState == AudioRecord.RECORDSTATE_RECORDING) record.stop()
        recorder?.join()
        record.release()
    }

    private companion object {
        /** The source that alters the sound least; others filter it in ways the network did not learn. */
        fun source(context: Context): Int {
            val audio = context.getSystemService(Context.AUDIO_SERVICE) as AudioManager
            val unprocessed = audio.getProperty(AudioManager.PROPERTY_SUPPORT_AUDIO_SOURCE_UNPROCESSED)
            return if (unprocessed == "true") {
                MediaRecorder.AudioSource.UNPROCESSED
            } else {
                MediaRecorder.AudioSource.VOICE_RECOGNITION
            }
        }

        @SuppressLint("MissingPermission") // without it the record is not initialised, which is told below
        fun open(source: Int): AudioRecord {
            val rate = Settings.SAMPLE_RATE
            val mono = AudioFormat.CHANNEL_IN_MONO
            val bits = AudioFormat.ENCODING_PCM_16BIT
            val least = AudioRecord.getMinBufferSize(rate, mono, bits)
            check(least > 0) { "this phone does not record at $rate Hz" }
            val record = AudioRecord(source, rate, mono, bits, maxOf(least, 2 * rate)) // 1 s of 2 bytes a sample
            check(record.state == AudioRecord.STATE_INITIALIZED) { "no microphone: is RECORD_AUDIO granted?" }
            return record
        }
    }
}
