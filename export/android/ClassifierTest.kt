package @PACKAGE@

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith

/** Runs on a phone or an emulator: the network gives there what it gave where the bundle was made. */
@RunWith(AndroidJUnit4::class)
class ClassifierTest {
    private val instrumentation = InstrumentationRegistry.getInstrumentation()

    /** Kernels round in their own ways; a step of a layer becomes several hundredths of a probability. */
    private val tolerance = @TOLERANCE@f

    @Test
    fun probabilitiesAreThoseOfTheExport() {
        val assets = instrumentation.context.assets
        val inputs = ByteBuffer.wrap(assets.open("inputs.bin").use { it.readBytes() }).order(ByteOrder.LITTLE_ENDIAN)
        val clips = JSONArray(assets.open("probabilities.json").bufferedReader().use { it.readText() })
        @CLASS@(instrumentation.targetContext).use { classifier ->
            for (clip in 0 until clips.length()) {
                val expected = clips.getJSONArray(clip)
                val found = classifier.probabilities(@INPUT@)
                assertEquals(classifier.labels.size, expected.length())
                for (place in found.indices) {
                    val name = "clip $clip, ${classifier.labels[place]}"
                    assertEquals(name, expected.getDouble(place).toFloat(), found[place], tolerance)
                }
            }
            assertEquals(0, inputs.remaining())
        }
    }
}
