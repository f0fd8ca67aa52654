package @PACKAGE@

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import org.json.JSONArray

/** From audio to a class: the log-mel front-end is part of the model. Not for several threads at once. */
class SceneClassifier(context: Context) : AutoCloseable {
    /** Names of the classes, in the order of the probabilities. */
    val labels: List<String> =
        JSONArray(context.assets.open("labels.json").bufferedReader().use { it.readText() })
            .let { names -> List(names.length()) { names.getString(it) } }

    private val model =
        CompiledModel.create(context.assets, "@ASSET@", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** Probabilities of a window: [Settings.SAMPLES] 16-bit samples. */
    fun probabilities(samples: ShortArray): FloatArray =
        probabilities(FloatArray(samples.size) { samples[it] / 32768f })

    /**
     * Probabilities of a window.
     *
     * @param waveform [Settings.SAMPLES] samples at [Settings.SAMPLE_RATE] Hz, mono, full scale 1. The first
     *   [Settings.BEFORE] lie before the patch that is classified; where the recording begins or ends within, put zeros.
     */
    fun probabilities(waveform: FloatArray): FloatArray {
        require(waveform.size == Settings.SAMPLES) { "takes ${Settings.SAMPLES} samples, not ${waveform.size}" }
        inputs[0].writeFloat(waveform)
        model.run(inputs, outputs)
        return outputs[0].readFloat()
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }
}
