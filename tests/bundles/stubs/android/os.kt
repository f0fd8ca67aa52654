// Stub of Android's threads: priorities are left alone.
package android.os

object Process {
    const val THREAD_PRIORITY_URGENT_AUDIO = -19

    fun setThreadPriority(priority: Int) = require(priority == THREAD_PRIORITY_URGENT_AUDIO)
}
