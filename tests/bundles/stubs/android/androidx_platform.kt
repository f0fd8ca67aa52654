// Stub of AndroidX Test's instrumentation: contexts of the folders TEST_ASSETS and ASSETS.
package androidx.test.platform.app

import android.content.Context

class Instrumentation {
    val context = Context(System.getenv("TEST_ASSETS"))
    val targetContext = Context(System.getenv("ASSETS"))
}

object InstrumentationRegistry {
    fun getInstrumentation() = Instrumentation()
}
