// Stub of Android's org.json: lists of texts, of numbers, and of such lists.
package org.json

class JSONArray private constructor(private val items: List<Any>) {
    constructor(text: String) : this(Parser(text).list())

    fun length() = items.size

    fun getString(place: Int) = items[place] as String

    fun getDouble(place: Int) = items[place] as Double

    @Suppress("UNCHECKED_CAST")
    fun getJSONArray(place: Int) = JSONArray(items[place] as List<Any>)
}

private class Parser(private val text: String) {
    private var place = 0

    fun list(): List<Any> {
        val items = mutableListOf<Any>()
        expect('[')
        while (peek() != ']') {
            items.add(if (peek() == '[') list() else if (peek() == '"') string() else number())
            if (peek() == ',') place++
        }
        expect(']')
        return items
    }

    private fun peek(): Char {
        while (text[place].isWhitespace()) place++
        return text[place]
    }

    private fun expect(char: Char) {
        require(peek() == char)
        place++
    }

    private fun number(): Double {
        val start = place
        while (text[place] !in ",] \n") place++
        return text.substring(start, place).toDouble()
    }

    private fun string(): String {
        val value = StringBuilder()
        expect('"')
        while (text[place] != '"') value.append(char())
        place++
        return value.toString()
    }

    private fun char(): Char {
        if (text[place] != '\\') return text[place++]
        val code = text[place + 1]
        place += 2
        if (code != 'u') return mapOf('n' to '\n', 't' to '\t', 'r' to '\r').getOrDefault(code, code)
        place += 4
        return text.substring(place - 4, place).toInt(16).toChar()
    }
}
