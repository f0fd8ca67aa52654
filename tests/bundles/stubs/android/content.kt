// Stubs of the few Android classes that a bundle uses: a context with files for assets, and what compiles beside it.
package android.content

import java.io.File

open class Context(folder: String) {
    val assets = android.content.res.AssetManager(File(folder))

    fun getSystemService(name: String): Any? = if (name == AUDIO_SERVICE) android.media.AudioManager() else null

    companion object {
        const val AUDIO_SERVICE = "audio"
    }
}
