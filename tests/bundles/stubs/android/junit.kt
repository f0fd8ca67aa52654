// Stub of JUnit 4.
package org.junit

annotation class Test

object Assert {
    @JvmStatic
    fun assertEquals(expected: Int, actual: Int) {
        if (expected != actual) throw AssertionError("$expected, but $actual")
    }

    @JvmStatic
    fun assertEquals(message: String, expected: Float, actual: Float, delta: Float) {
        if (!(Math.abs(expected - actual) <= delta)) throw AssertionError("$message: $expected, but $actual")
    }
}
