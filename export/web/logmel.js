/** The network's log-mels, computed once more for the picture; the network itself holds its own front-end. */

import { Windows } from "./listener.js";

/** Frames of log-mel, natural logarithm, over blocks of samples. */
export class LogMelStream {
    /** @param settings `frontend` of page.json */
    constructor(settings) {
        this.settings = settings;
        this.windows = new Windows(settings.window_samples, settings.hop_samples);
        this.window = periodicWindow(settings.window, settings.window_samples);
        this.bands = melBands(settings);
        this.fft = new Fft(settings.fft_size);
        for (const frame of this.windows.push(new Float32Array(settings.zeros_before))) void frame; // completes none
    }

    /** @yields {Float32Array} a frame `[mels]` */
    *push(block) {
        for (const samples of this.windows.push(block)) yield this.frame(samples);
    }

    frame(samples) {
        const { power, log_offset } = this.settings;
        const spectrum = this.fft.squares(samples, this.window);
        if (!power) spectrum.forEach((square, bin) => (spectrum[bin] = Math.sqrt(square)));
        return Float32Array.from(this.bands, ({ first, weights }) => {
            let sum = log_offset;
            weights.forEach((weight, place) => (sum += weight * spectrum[first + place]));
            return Math.log(sum);
        });
    }
}

function periodicWindow(name, size) {
    const [level, swing] = name === "hann" ? [0.5, 0.5] : [0.54, 0.46];
    return Float64Array.from({ length: size }, (_, place) => level - swing * Math.cos((2 * Math.PI * place) / size));
}

/** Triangles between neighbouring edges, over the bins they reach. */
function melBands({ band_edges_hz: edges, unit_area, sample_rate, fft_size }) {
    const bin_hz = sample_rate / fft_size;
    return edges.slice(2).map((high, band) => {
        const [low, middle] = [edges[band], edges[band + 1]];
        const height = unit_area ? 2 / (high - low) : 1;
        const first = Math.max(0, Math.ceil(low / bin_hz));
        const last = Math.min(Math.floor(high / bin_hz), fft_size / 2);
        const weights = Float64Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => {
            const hertz = (first + place) * bin_hz;
            return height * Math.max(0, Math.min((hertz - low) / (middle - low), (high - hertz) / (high - middle)));
        });
        return { first, weights };
    });
}

/** A radix-2 FFT of real samples; the size is a power of two. */
class Fft {
    constructor(size) {
        this.size = size;
        this.cosine = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
        this.sine = Float64Array.from({ length: size / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / size));
        this.real = new Float64Array(size);
        this.imaginary = new Float64Array(size);
    }

    /** Squared magnitudes `[size / 2 + 1]` of samples times a window, zeros behind them. */
    squares(samples, window) {
        const { size, real, imaginary } = this;
        real.fill(0);
        imaginary.fill(0);
        samples.forEach((sample, place) => (real[place] = sample * window[place]));
        this.reverseBits();
        for (let half = 1; half < size; half *= 2) this.step(half);
        return Float64Array.from({ length: size / 2 + 1 }, (_, bin) => real[bin] ** 2 + imaginary[bin] ** 2);
    }

    /** Brings the samples, which have no imaginary part yet, into the order that the steps take. */
    reverseBits() {
        const { size, real } = this;
        for (let place = 1, mirrored = 0; place < size; ++place) {
            let bit = size >> 1;
            for (; mirrored & bit; bit >>= 1) mirrored ^= bit;
            mirrored ^= bit;
            if (place < mirrored) [real[place], real[mirrored]] = [real[mirrored], real[place]];
        }
    }

    /** Joins neighbouring transforms of `half` points. */
    step(half) {
        const { size, real, imaginary, cosine, sine } = this;
        const stride = size / (2 * half);
        for (let start = 0; start < size; start += 2 * half) {
            for (let k = 0; k < half; ++k) {
                const [low, high] = [start + k, start + k + half];
                const [turn, lift] = [cosine[k * stride], sine[k * stride]];
                const re = real[high] * turn - imaginary[high] * lift;
                const im = real[high] * lift + imaginary[high] * turn;
                real[high] = real[low] - re;
                imaginary[high] = imaginary[low] - im;
                real[low] += re;
                imaginary[low] += im;
            }
        }
    }
}
