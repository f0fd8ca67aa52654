// Runs a bundle's Kotlin on a computer, as its first argument says; lines in, lines out.
package org.example.heard

import android.content.Context
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.runBlocking

fun main(arguments: Array<String>) =
    when (arguments[0]) {
        "listen" -> listen()
        "test" -> ClassifierTest().probabilitiesAreThoseOfTheExport()
        "test features" -> org.example.features.ClassifierTest().probabilitiesAreThoseOfTheExport()
        "overrun" -> overrun(arguments[1].toInt())
        "ring" -> ring(arguments[1].toInt())
        "judge" -> judge()
        else -> lines { println(meanSquare(it.toShorts(), it.size)) }
    }

private fun lines(each: (List<String>) -> Unit) =
    generateSequence(::readLine).forEach { line -> each(line.split(" ").filter { it.isNotEmpty() }) }

private fun List<String>.toShorts() = ShortArray(size) { this[it].toShort() }

private fun Judgement.text() = "$heard $best $meanSquare $percent ${smoothed.toList()} $likely"

/** What the microphone hears until it is pulled out. */
private fun listen() {
    val context = Context(System.getenv("ASSETS"))
    SceneClassifier(context).use { classifier ->
        println(classifier.labels.map { it.toByteArray().toList() })
        runBlocking {
            decisions(context) { classifier.probabilities(it) }.collect {
                println("${it.seconds} ${it.lostSamples} ${it.judgement.text()}")
            }
        }
    }
}

/** A stream of `samples` that is written before the first decision is asked for, into a ring that is too small. */
private fun overrun(samples: Int) {
    val ring = SampleRing(Listener.KEPT + Settings.HOP)
    val listener = Listener(ring) { window -> FloatArray(2) { window[it].toFloat() } }
    for (number in 0 until samples) ring.write(shortArrayOf(number.toShort()), 1)
    generateSequence { listener.next() }.forEach {
        println("${it.seconds} ${it.lostSamples} ${it.probabilities.toList()}")
    }
}

/** `write VALUES` or `copy END SIZE`. */
private fun ring(capacity: Int) {
    val ring = SampleRing(capacity)
    lines { words ->
        if (words[0] == "write") {
            ring.write(words.drop(1).toShorts() + 0.toShort(), words.size - 1)
        } else {
            val into = ShortArray(words[2].toInt())
            println(if (ring.copy(words[1].toLong(), into)) into.joinToString(" ", "is ") else "not there")
        }
    }
}

/** `rules SMOOTHING THRESHOLD GATE`, then `MEAN_SQUARE PROBABILITIES`. */
private fun judge() {
    var judge = Judge(ListenRules())
    lines { words ->
        if (words[0] == "rules") {
            judge = Judge(ListenRules(words[1].toInt(), words[2].toInt(), words[3].toLong()))
        } else {
            val probabilities = words.drop(1).map { it.toFloat() }.toFloatArray()
            println(judge.judge(probabilities, words[0].toLong()).text())
        }
    }
}
