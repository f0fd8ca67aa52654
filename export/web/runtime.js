/** Runs a .tflite file in the browser, by LiteRT.js (TensorFlow Lite as WebAssembly with XNNPACK, on the CPU). */

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "./litert/core/dist/index.js";

const WASM = new URL("./litert/core/wasm/", import.meta.url).href;
let loading;

/** Loads LiteRT.js, once a page. Threads need a page that is cross-origin isolated. */
export function loadRuntime({ threads = false } = {}) {
    if (!loading) {
        globalThis.Module = { printErr }; // taken by LiteRT.js when it starts
        loading = loadLiteRt(WASM, { threads });
    }
    return loading;
}

/** LiteRT.js writes all it has to tell as errors; what it marks as less is none. */
function printErr(line) {
    const [kind] = /^(INFO|WARNING|VERBOSE)\b/.exec(line) ?? ["ERROR"];
    ({ VERBOSE: console.debug, INFO: console.debug, WARNING: console.warn, ERROR: console.error })[kind](line);
}

/** What this browser's WebAssembly can do: `relaxedSimd` and `threads`. */
export async function wasmFeatures() {
    const [relaxedSimd, threads] = await Promise.all([supportsFeature("relaxedSimd"), supportsFeature("threads")]);
    return { relaxedSimd, threads: threads && globalThis.crossOriginIsolated };
}

/** A network with one float32 input and one float32 output. */
export class Network {
    /**
     * @param {string | Uint8Array} file address or content of a .tflite file
     * @param {{threads?: number}} options more than one thread only after `loadRuntime({threads: true})`
     */
    static async open(file, { threads = 1 } = {}) {
        await loadRuntime({ threads: threads > 1 });
        const model = await loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
        return new Network(model);
    }

    constructor(model) {
        const [input, output] = [model.getInputDetails()[0], model.getOutputDetails()[0]];
        if (input.dtype !== "float32" || output.dtype !== "float32") {
            throw new Error(`LiteRT.js takes float32 ends alone, not ${input.dtype} to ${output.dtype}`);
        }
        this.model = model;
        this.inputShape = [...input.shape];
        this.outputShape = [...output.shape];
    }

    /**
     * @param {Float32Array} values of the input, flat
     * @returns {Promise<Float32Array>} of the output, flat
     */
    async run(values) {
        const input = new Tensor(values, this.inputShape);
        try {
            const [output] = await this.model.run([input]);
            const result = output.toTypedArray().slice();
            output.delete();
            return result;
        } finally {
            input.delete();
        }
    }

    close() {
        this.model.delete();
    }
}
