/** The log-mels of the last seconds as a picture that moves to the left. */

const SECONDS = 5;
const STOPS = [
    [13, 17, 45],
    [50, 46, 130],
    [28, 130, 140],
    [120, 200, 90],
    [253, 231, 76],
]; // from quiet to loud
const [QUIETEST, LOUDEST] = [-2.5, 2.5]; // standard deviations from the mean of a band

export class Picture {
    /** @param settings `frontend` of page.json */
    constructor(canvas, settings) {
        Object.assign(this, { canvas, settings, waiting: [] });
        canvas.width = Math.round((SECONDS * settings.sample_rate) / settings.hop_samples);
        canvas.height = settings.mean.length;
        this.context = canvas.getContext("2d");
        this.still = matchMedia("(prefers-reduced-motion: reduce)");
        this.clear();
    }

    clear() {
        this.waiting = [];
        this.context.fillStyle = `rgb(${STOPS[0]})`;
        this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }

    /** @param {Float32Array[]} frames log-mels `[mels]` each */
    push(frames) {
        this.waiting.push(...frames);
        if (this.waiting.length > this.canvas.width) this.waiting.splice(0, this.waiting.length - this.canvas.width);
        const { width } = this.canvas;
        // where movement is unwelcome, a page at a time
        if (this.waiting.length < (this.still.matches ? width : 1)) return;
        this.asked ??= requestAnimationFrame(() => this.draw());
    }

    draw() {
        this.asked = undefined;
        const { width, height } = this.canvas;
        const columns = this.waiting.splice(0);
        if (columns.length === 0) return;
        this.context.drawImage(this.canvas, -columns.length, 0);
        const pixels = this.context.createImageData(columns.length, height);
        columns.forEach((frame, column) => {
            frame.forEach((value, band) => {
                const place = 4 * ((height - 1 - band) * columns.length + column);
                pixels.data.set([...this.colour(value, band), 255], place);
            });
        });
        this.context.putImageData(pixels, width - columns.length, 0);
    }

    colour(value, band) {
        const { mean, std } = this.settings;
        const share = ((value - mean[band]) / std[band] - QUIETEST) / (LOUDEST - QUIETEST);
        const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
        const below = Math.min(Math.floor(place), STOPS.length - 2);
        return STOPS[below].map((start, channel) => start + (place - below) * (STOPS[below + 1][channel] - start));
    }
}
