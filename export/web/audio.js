/** Sound from the microphone or a file, mono, at the network's rate. */

const ZERO_CROSSINGS = 32; // of the sinc, to each side
const ROLLOFF = 0.95; // of the lower rate's upper limit
const STEPS = 512; // of the table between two zero crossings
const KAISER = 9;

/** Lowers the rate of a stream of blocks, by a sinc under a Kaiser window; browsers differ in whether they do. */
export class Resampler {
    constructor(from, to) {
        Object.assign(this, { from, to, scale: (Math.min(from, to) / from) * ROLLOFF });
        this.reach = Math.ceil(ZERO_CROSSINGS / this.scale);
        this.table = sincTable();
        this.held = new Float32Array(this.reach); // silence before the first sample
        this.first = -this.reach; // number of the sample that `held` begins with
        this.made = 0;
    }

    /** @returns {Float32Array} what the block completes */
    push(block) {
        if (this.from === this.to) return block;
        const held = new Float32Array(this.held.length + block.length);
        held.set(this.held);
        held.set(block, this.held.length);
        const made = [];
        let centre = (this.made * this.from) / this.to;
        for (; Math.floor(centre) + this.reach < this.first + held.length; centre = (this.made * this.from) / this.to) {
            made.push(this.value(held, centre - this.first));
            this.made += 1;
        }
        const passed = Math.max(0, Math.floor(centre) - this.reach - this.first);
        this.held = held.slice(passed);
        this.first += passed;
        return Float32Array.from(made);
    }

    value(held, centre) {
        let sum = 0;
        const last = Math.min(Math.floor(centre) + this.reach, held.length - 1);
        for (let place = Math.max(0, Math.floor(centre) - this.reach + 1); place <= last; ++place) {
            const step = Math.abs(place - centre) * this.scale * STEPS;
            const [below, part] = [Math.floor(step), step % 1];
            if (below < ZERO_CROSSINGS * STEPS) {
                sum += held[place] * (this.table[below] + part * (this.table[below + 1] - this.table[below]));
            }
        }
        return sum * this.scale;
    }
}

function sincTable() {
    return Float64Array.from({ length: ZERO_CROSSINGS * STEPS + 1 }, (_, step) => {
        const x = step / STEPS;
        const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
        return (sinc * bessel(KAISER * Math.sqrt(Math.max(0, 1 - (x / ZERO_CROSSINGS) ** 2)))) / bessel(KAISER);
    });
}

/** The modified Bessel function of order 0, by its series. */
function bessel(x) {
    let [sum, term] = [1, 1];
    for (let k = 1; term > 1e-12 * sum; ++k) {
        term *= (x / (2 * k)) ** 2;
        sum += term;
    }
    return sum;
}

/** The microphone, as an AudioWorklet hears it; `stop()` lets go of it. */
export class Microphone {
    /**
     * @param {number} rate of the blocks, Hz
     * @param {(block: Float32Array) => void} onBlock
     * @param {() => void} onEnd when the microphone goes away
     * @throws {Error} a sentence for the user
     */
    static async open(rate, onBlock, onEnd) {
        if (!navigator.mediaDevices) throw new Error("The microphone needs an address with https://, or localhost.");
        const microphone = new Microphone();
        try {
            microphone.stream = await navigator.mediaDevices.getUserMedia({
                // what browsers do to speech alters the sound in ways the network did not learn
                audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
            });
            microphone.stream.getTracks().forEach((track) => track.addEventListener("ended", onEnd));
            microphone.context = new AudioContext();
            await microphone.connect(rate, onBlock);
        } catch (error) {
            await microphone.stop();
            throw new Error(reason(error), { cause: error });
        }
        return microphone;
    }

    async connect(rate, onBlock) {
        const { context, stream } = this;
        if (context.sampleRate < rate) {
            throw new Error(`The microphone records at ${context.sampleRate} Hz, below the network's ${rate} Hz.`);
        }
        await context.audioWorklet.addModule(new URL("./recorder.js", import.meta.url));
        const recorder = new AudioWorkletNode(context, "recorder");
        const resampler = new Resampler(context.sampleRate, rate);
        recorder.port.onmessage = ({ data }) => onBlock(resampler.push(data));
        context.createMediaStreamSource(stream).connect(recorder);
        recorder.connect(context.destination); // silence: some browsers run only what is connected
        await context.resume();
    }

    async stop() {
        this.stream?.getTracks().forEach((track) => track.stop());
        if (this.context && this.context.state !== "closed") await this.context.close();
    }
}

function reason(error) {
    const known = {
        NotAllowedError: "The microphone was not allowed; allow it in the browser's settings for this page.",
        NotFoundError: "There is no microphone; plug one in, or open a file.",
        NotReadableError: "The microphone is taken by another program; close that, or open a file.",
    };
    return known[error.name] ?? error.message;
}

/**
 * The samples of an audio file.
 * @throws {Error} a sentence for the user
 */
export async function decodeFile(file, rate) {
    let audio;
    try {
        // decoding resamples to the context's rate
        audio = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
    } catch (error) {
        throw new Error(`“${file.name}” is no audio that this browser can read.`, { cause: error });
    }
    const mono = new Float32Array(audio.length);
    for (let channel = 0; channel < audio.numberOfChannels; ++channel) {
        audio.getChannelData(channel).forEach((sample, place) => (mono[place] += sample / audio.numberOfChannels));
    }
    return mono;
}
