package @PACKAGE@

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import org.json.JSONArray

/** From quantised log-mel features to a class; `frontend.json` says how to compute them. Not for several threads at once. */
class FeatureClassifier(context: Context) : AutoCloseable {
    /** Names of the classes, in the order of the probabilities. */
    val labels: List<String> =
        JSONArray(context.assets.open("labels.json").bufferedReader().use { it.readText() })
            .let { names -> List(names.length()) { names.getString(it) } }

    private val model =
        CompiledModel.create(context.assets, "@ASSET@", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /**
     * Probabilities of the classes.
     *
     * @param features [SIZE] values as `ep_frontend_patch_i8` of the C front-end gives them.
     */
    fun probabilities(features: ByteArray): FloatArray {
        require(features.size == SIZE) { "takes $SIZE values, not ${features.size}" }
        inputs[0].writeInt8(features)
        model.run(inputs, outputs)
        return outputs[0].readInt8().map { OUTPUT_SCALE * (it - OUTPUT_ZERO_POINT) }.toFloatArray()
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }

    companion object {
        const val SIZE = @INPUT_SIZE@
        const val OUTPUT_SCALE = @OUTPUT_SCALE@
        const val OUTPUT_ZERO_POINT = @OUTPUT_ZERO_POINT@
    }
}
