// Stub of Flow: collecting runs the block.
package kotlinx.coroutines.flow

import kotlin.coroutines.CoroutineContext

interface FlowCollector<in T> {
    suspend fun emit(value: T)
}

interface Flow<out T> {
    suspend fun collect(collector: FlowCollector<T>)
}

fun <T> flow(block: suspend FlowCollector<T>.() -> Unit): Flow<T> =
    object : Flow<T> {
        override suspend fun collect(collector: FlowCollector<T>) = collector.block()
    }

fun <T> Flow<T>.flowOn(context: CoroutineContext): Flow<T> = also { require(context !== kotlin.coroutines.EmptyCoroutineContext) }

suspend fun <T> Flow<T>.collect(action: suspend (T) -> Unit) =
    collect(
        object : FlowCollector<T> {
            override suspend fun emit(value: T) = action(value)
        }
    )
