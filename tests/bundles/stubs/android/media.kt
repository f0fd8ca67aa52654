// Stub of Android's recording: it plays the file SOUND (16-bit samples), then gives an error, as a microphone that is
// pulled out. It plays as fast as it is read.
package android.media

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

object AudioFormat {
    const val CHANNEL_IN_MONO = 16
    const val ENCODING_PCM_16BIT = 2
}

class AudioManager {
    fun getProperty(key: String): String? = if (key == PROPERTY_SUPPORT_AUDIO_SOURCE_UNPROCESSED) "true" else null

    companion object {
        const val PROPERTY_SUPPORT_AUDIO_SOURCE_UNPROCESSED = "android.media.property.SUPPORT_AUDIO_SOURCE_UNPROCESSED"
    }
}

object MediaRecorder {
    object AudioSource {
        const val UNPROCESSED = 9
        const val VOICE_RECOGNITION = 6
    }
}

class AudioRecord(source: Int, rate: Int, channels: Int, encoding: Int, bytes: Int) {
    private val sound = ByteBuffer.wrap(File(System.getenv("SOUND")).readBytes()).order(ByteOrder.LITTLE_ENDIAN)

    var recordingState = 1
        private set

    val state: Int = STATE_INITIALIZED

    init {
        require(source == MediaRecorder.AudioSource.UNPROCESSED && bytes >= getMinBufferSize(rate, channels, encoding))
    }

    fun startRecording() {
        recordingState = RECORDSTATE_RECORDING
    }

    fun read(into: ShortArray, offset: Int, count: Int): Int {
        if (recordingState != RECORDSTATE_RECORDING || sound.remaining() == 0) return ERROR_DEAD_OBJECT
        val read = minOf(count, sound.remaining() / 2)
        for (place in 0 until read) into[offset + place] = sound.short
        return read
    }

    fun stop() {
        recordingState = 1
    }

    fun release() = println("released")

    companion object {
        const val RECORDSTATE_RECORDING = 3
        const val STATE_INITIALIZED = 1
        const val ERROR_DEAD_OBJECT = -6

        fun getMinBufferSize(rate: Int, channels: Int, encoding: Int): Int {
            require(channels == AudioFormat.CHANNEL_IN_MONO && encoding == AudioFormat.ENCODING_PCM_16BIT)
            return rate / 5
        }
    }
}
