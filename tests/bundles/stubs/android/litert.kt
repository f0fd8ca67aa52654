// Stub of LiteRT: no network is run. Outputs are played from the file OUTPUTS (32-bit floats, or bytes), and what was
// written as input is kept in the file INPUTS.
package com.google.ai.edge.litert

import android.content.res.AssetManager
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

enum class Accelerator { NONE, CPU, GPU, NPU }

class TensorBuffer(private val played: ByteBuffer?, private val classes: Int) : AutoCloseable {
    fun writeFloat(data: FloatArray) {
        val bytes = ByteBuffer.allocate(4 * data.size).order(ByteOrder.LITTLE_ENDIAN)
        data.forEach { bytes.putFloat(it) }
        File(System.getenv("INPUTS")).appendBytes(bytes.array())
    }

    fun writeInt8(data: ByteArray) = File(System.getenv("INPUTS")).appendBytes(data)

    fun readFloat(): FloatArray = FloatArray(classes) { played!!.float }

    fun readInt8(): ByteArray = ByteArray(classes) { played!!.get() }

    override fun close() {}
}

class CompiledModel private constructor(private val classes: Int) : AutoCloseable {
    class Options(vararg val accelerators: Accelerator)

    private val outputs = ByteBuffer.wrap(File(System.getenv("OUTPUTS")).readBytes()).order(ByteOrder.LITTLE_ENDIAN)

    fun createInputBuffers(): List<TensorBuffer> = listOf(TensorBuffer(null, 0))

    fun createOutputBuffers(): List<TensorBuffer> = listOf(TensorBuffer(outputs, classes))

    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>) = require(inputs.size == 1 && outputs.size == 1)

    override fun close() {}

    companion object {
        fun create(assets: AssetManager, name: String, options: Options): CompiledModel {
            require(File(assets.folder, name).length() > 0 && options.accelerators.single() == Accelerator.CPU)
            return CompiledModel(System.getenv("CLASSES").toInt())
        }
    }
}
