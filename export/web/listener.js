/**
 * From samples to decisions, by the rules of `edgeprune listen` and in the same whole numbers
 * (edgeprune/audio/listener.py and listen_rules.py). A probability counts in 65536ths, a level is the mean square of
 * 16-bit samples around their mean.
 */

export const UNIT = 1 << 16;
const WEIGHT_UNIT = 1 << 15;
const FULL_SCALE = 1 << 15;

/** Windows of `size` samples, one every `hop`, over blocks of any length. */
export class Windows {
    constructor(size, hop) {
        Object.assign(this, { size, hop });
        this.held = new Float32Array(size);
        this.count = 0;
        this.skip = 0; // samples to come that no window needs
    }

    /** @yields {Float32Array} each window that the block completes; it is used again afterwards */
    *push(block) {
        let start = 0;
        while (start < block.length) {
            const passed = Math.min(this.skip, block.length - start);
            this.skip -= passed;
            start += passed;
            const taken = Math.min(this.size - this.count, block.length - start);
            this.held.set(block.subarray(start, start + taken), this.count);
            this.count += taken;
            start += taken;
            if (this.count === this.size) {
                yield this.held;
                this.count = Math.max(0, this.size - this.hop);
                this.held.copyWithin(0, this.size - this.count);
                this.skip = Math.max(0, this.hop - this.size);
            }
        }
    }
}

/** The mean square of samples with full scale 1 as 16-bit ones, around their mean; 0 of no samples. */
export function meanSquare(samples) {
    let [total, squares] = [0, 0];
    const count = samples.length;
    for (const sample of samples) {
        const stored = Math.min(Math.max(roundHalfEven(sample * FULL_SCALE), -FULL_SCALE), FULL_SCALE - 1);
        total += stored;
        squares += stored * stored;
    }
    if (count === 0) return 0;
    const mean = Math.floor((2 * total + count) / (2 * count));
    return Math.floor((squares - 2 * mean * total + count * mean * mean) / count);
}

function roundHalfEven(value) {
    return Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

/** Level of a mean square; minus infinity for digital silence. */
export function levelDbfs(square) {
    return 10 * Math.log10(square / FULL_SCALE ** 2);
}

/** Applies the rules to one window after the other. */
export class Judge {
    /** @param rules `smoothing_weight`, `least_probability`, `least_mean_square`: whole numbers */
    constructor(rules) {
        this.rules = rules;
        this.smoothed = null; // at the start and after silence: what comes next is judged by itself
    }

    /**
     * @returns `heard` ("class", "none" or "silence"), `best` (-1 in silence), `smoothed` (in 65536ths) and `likely`:
     *   the classes that reach the threshold, the likeliest first; without a threshold `best` alone
     */
    judge(probabilities, square) {
        const latest = Array.from(probabilities, (p) => Math.min(Math.max(Math.floor(p * UNIT + 0.5), 0), UNIT));
        if (square < this.rules.least_mean_square) {
            this.smoothed = null;
            return { heard: "silence", best: -1, smoothed: latest.fill(0), likely: [] };
        }
        const [weight, before] = [this.rules.smoothing_weight, this.smoothed ?? latest];
        const smoothed = latest.map((now, place) =>
            Math.floor((weight * before[place] + (WEIGHT_UNIT - weight) * now + WEIGHT_UNIT / 2) / WEIGHT_UNIT),
        );
        this.smoothed = smoothed;
        const order = smoothed.map((_, place) => place).sort((one, other) => smoothed[other] - smoothed[one]);
        const least = this.rules.least_probability;
        const likely = least ? order.filter((place) => smoothed[place] >= least) : [order[0]];
        return { heard: likely.length ? "class" : "none", best: order[0], smoothed, likely };
    }
}

/** Decides every hop from the latest window. */
export class Listener {
    /**
     * @param settings `listening` of page.json: samples by name, and the rules
     * @param predict gives probabilities of a window `[samples]` (a promise)
     */
    constructor(settings, predict) {
        Object.assign(this, { settings, predict, judge: new Judge(settings.rules) });
        // Where frames leave gaps between them, the level hears more than the network does.
        this.lead = Math.max(0, -settings.level_start);
        this.windows = new Windows(this.lead + settings.samples, settings.hop);
        this.queue = [new Float32Array(this.lead + settings.before)];
        this.samples = 0;
        this.decisions = 0;
        this.processing_ms = 0;
    }

    /** Seconds of work a second of audio; below 1 keeps up. */
    get realTimeFactor() {
        return this.samples ? this.processing_ms / 1000 / (this.samples / this.settings.sample_rate) : 0;
    }

    /** Decisions that a block completes; the block has full scale 1 and the network's rate. */
    async *push(block) {
        this.samples += block.length;
        yield* this.decide(block);
    }

    /** The last decisions: silence follows a recording, so that one shorter than a window gets one too. */
    async *end() {
        const { after, least_samples } = this.settings;
        yield* this.decide(new Float32Array(after + Math.max(0, least_samples - this.samples)));
    }

    async *decide(block) {
        this.queue.push(block);
        while (this.queue.length) {
            for (const held of this.windows.push(this.queue.shift())) yield await this.decision(held);
        }
    }

    async decision(held) {
        const started = performance.now();
        const { before, level_start, samples, hop, sample_rate } = this.settings;
        const window = held.slice(this.lead);
        // The first window begins with zeros that nobody heard.
        const square = meanSquare(held.subarray(this.lead + (this.decisions === 0 ? before : level_start)));
        const latest = await this.predict(window);
        const judgement = this.judge.judge(latest, square);
        const took_ms = performance.now() - started;
        this.processing_ms += took_ms;
        const end = Math.min(this.decisions * hop + samples - before, this.samples);
        this.decisions += 1;
        return { ...judgement, latest, window, mean_square: square, took_ms, time_s: end / sample_rate };
    }
}
