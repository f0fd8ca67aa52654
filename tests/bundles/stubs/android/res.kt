// Stub of Android's assets: the files of a folder.
package android.content.res

import java.io.File
import java.io.InputStream

class AssetManager(val folder: File) {
    fun open(name: String): InputStream = File(folder, name).inputStream()
}
