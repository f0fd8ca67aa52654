// Stub of AndroidX Test's runner.
package androidx.test.ext.junit.runners

class AndroidJUnit4
