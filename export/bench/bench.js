/**
 * Runs .tflite files in this browser, first on check inputs, then against the clock, and sends outputs and times to the
 * computer that serves this page; that compares the outputs.
 */

const REASON = 300; // characters: a longer answer is refused
const STEPS = 50; // of the browser's clock in a timed run: one step more or less is then 2 %
// A module whose only function makes a vector of 16 bytes.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

let hidden = document.hidden;
document.addEventListener("visibilitychange", () => {
    hidden ||= document.hidden;
});

function tell(text) {
    document.getElementById("status").textContent = text;
}

function list(names) {
    const items = names.map((name) => {
        const item = document.createElement("li");
        item.textContent = name;
        return item;
    });
    document.getElementById("files").replaceChildren(...items);
}

async function load(address) {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`${address} could not be loaded (${response.status})`);
    return response;
}

/** The smallest difference that `performance.now()` shows, in ms; browsers make it coarse. */
function clockStep() {
    const steps = [];
    let before = performance.now();
    while (steps.length < 9) {
        const now = performance.now();
        if (now > before) {
            steps.push(now - before);
            before = now;
        }
    }
    return steps.sort((one, other) => one - other)[4];
}

/** A file of the job with its network, and what it gave for its check inputs. */
class CheckedFile {
    static async open(file, job, { Network, Tensor }) {
        const network = await Network.open(file.model, { threads: job.threads });
        const values = new Float32Array(await (await load(file.inputs)).arrayBuffer());
        const size = values.length / file.count;
        const outputs = [];
        for (let start = 0; start < values.length; start += size) {
            outputs.push(...(await network.run(values.subarray(start, start + size))));
        }
        const input = new Tensor(values.slice(0, size), network.inputShape);
        return new CheckedFile(network.model, input, outputs);
    }

    constructor(model, input, outputs) {
        this.model = model;
        this.input = input;
        this.outputs = outputs;
        this.times = [];
    }

    /** Mean milliseconds of `count` inferences in a row. */
    async run(count) {
        const start = performance.now();
        for (let done = 0; done < count; done++) {
            for (const output of await this.model.run([this.input])) output.delete();
        }
        return (performance.now() - start) / count;
    }

    /** Warms up, and finds how many inferences a timed run takes with this clock, even the fastest of a few. */
    async warmUp(ms, step) {
        const end = performance.now() + ms; // the browser is still compiling meanwhile
        for (this.inferences = 1; ; this.inferences *= 2) {
            let fastest = Infinity;
            for (let tries = 0; tries < 5; tries++) fastest = Math.min(fastest, await this.run(this.inferences));
            if (fastest * this.inferences >= STEPS * step) break;
        }
        while (performance.now() < end) await this.run(1);
    }
}

/** Times the files against each other: each runs once a round, and the order rotates from round to round. */
async function time(files, job, step) {
    for (const file of files) await file.warmUp(job.warmup_ms, step);
    for (let round = 0; round < job.runs; round++) {
        for (let place = 0; place < files.length; place++) {
            const file = files[(round + place) % files.length];
            file.times.push(await file.run(file.inferences));
        }
        await new Promise((resume) => setTimeout(resume)); // lets the page answer to its user
    }
}

async function send(answer) {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("answer", { method: "POST", headers, body: JSON.stringify(answer) });
    if (!response.ok) throw new Error(`the answer was refused (${response.status})`);
}

async function measure() {
    const job = await (await load("job.json")).json();
    list(job.files.map((file) => file.name));
    tell("Loading LiteRT.js …");
    const { Network, wasmFeatures } = await import("./runtime.js");
    const { Tensor } = await import("./litert/core/dist/index.js");
    const features = await wasmFeatures();
    const files = [];
    for (const file of job.files) files.push(await CheckedFile.open(file, job, { Network, Tensor }));
    tell(`Timing ${job.runs} runs of each file …`);
    const step = clockStep();
    await time(files, job, step);
    const browser = {
        cores: navigator.hardwareConcurrency ?? 0,
        simd: WebAssembly.validate(new Uint8Array(SIMD)),
        relaxed_simd: features.relaxedSimd,
        threads: features.threads,
        clock_step_ms: step,
        hidden,
    };
    const results = files.map(({ outputs, times, inferences }) => ({ outputs, times_ms: times, inferences }));
    await send({ browser, results });
}

try {
    await measure();
    tell("Done: the computer has the answer. You can close this page.");
} catch (error) {
    const reason = String(error?.message ?? error);
    tell(`This did not work: ${reason}`);
    await send({ error: reason.slice(0, REASON) }).catch(() => {});
}
