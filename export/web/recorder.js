/** Runs in the browser's audio thread and hands on what the microphone hears, mono, some 40 ms at a time. */

const BLOCK = 2048;

class Recorder extends AudioWorkletProcessor {
    block = new Float32Array(BLOCK);
    count = 0;

    process([channels]) {
        const length = channels[0]?.length ?? 0; // no channel while nothing is connected
        for (let place = 0; place < length; ++place) {
            let sum = 0;
            for (const channel of channels) sum += channel[place];
            this.block[this.count++] = sum / channels.length;
            if (this.count === BLOCK) {
                this.port.postMessage(this.block);
                this.count = 0;
            }
        }
        return true;
    }
}

registerProcessor("recorder", Recorder);
