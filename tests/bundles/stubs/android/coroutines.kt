// Stub of kotlinx.coroutines: everything runs on the thread that collects.
package kotlinx.coroutines

import kotlin.coroutines.AbstractCoroutineContextElement
import kotlin.coroutines.Continuation
import kotlin.coroutines.CoroutineContext
import kotlin.coroutines.EmptyCoroutineContext
import kotlin.coroutines.startCoroutine

class CoroutineDispatcher : AbstractCoroutineContextElement(Key) {
    companion object Key : CoroutineContext.Key<CoroutineDispatcher>
}

object Dispatchers {
    val Default = CoroutineDispatcher()
}

@Suppress("RedundantSuspendModifier")
suspend fun delay(timeMillis: Long) = Thread.sleep(timeMillis)

fun runBlocking(block: suspend () -> Unit) =
    block.startCoroutine(Continuation(EmptyCoroutineContext) { it.getOrThrow() })
