/** The page: controls, what was heard, figures. All text that is not the page's own goes in as text, never as markup. */

import { decodeFile, Microphone } from "./audio.js";
import { levelDbfs, Listener, UNIT } from "./listener.js";
import { LogMelStream } from "./logmel.js";
import { Picture } from "./picture.js";
import { Network } from "./runtime.js";

const WAITING_S = 10; // of sound that may wait for a slow network before blocks are lost
const ANNOUNCE_MS = 3000; // at least, between two announcements to a screen reader
const HISTORY = 50; // entries
const TIMED = 20; // decisions, whose median time is shown

const element = (id) => document.getElementById(id);

/** One stream of sound: its blocks, the decisions they complete, and what was lost. */
class Session {
    constructor(settings, network, show) {
        this.listener = new Listener(settings.listening, (window) => network.run(window));
        this.frames = new LogMelStream(settings.frontend);
        Object.assign(this, { show, rate: settings.listening.sample_rate, blocks: [], waiting: 0, lost: 0 });
    }

    /** Takes a block of a microphone; decides when the decisions before are made. */
    async hear(block) {
        if (this.waiting > WAITING_S * this.rate) this.lost += block.length;
        else {
            this.blocks.push(block);
            this.waiting += block.length;
        }
        if (this.busy) return;
        this.busy = true;
        while (this.blocks.length && !this.ended) {
            const next = this.blocks.shift();
            this.waiting -= next.length;
            await this.process(next);
            await turn();
        }
        this.busy = false;
    }

    async process(block) {
        this.show.frames([...this.frames.push(block)]);
        for await (const decision of this.listener.push(block)) this.decided(decision);
    }

    /** Hears a whole recording, a second at a time. */
    async hearAll(samples) {
        for (let start = 0; start < samples.length && !this.ended; start += this.rate) {
            await this.process(samples.subarray(start, start + this.rate));
            await turn();
        }
        if (this.ended) return;
        for await (const decision of this.listener.end()) this.decided(decision);
    }

    decided(decision) {
        if (!this.ended) this.show.decision(decision, this.listener, this.lost);
    }
}

/** Lets the browser do what waits: the next blocks of the microphone, a press of a button. */
function turn() {
    // no timer: those of a page in the background are slowed down to one a second
    return new Promise((resume) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
            port1.close();
            resume();
        };
        port2.postMessage(null);
    });
}

/** What the page shows. */
class View {
    constructor(settings) {
        this.labels = settings.labels.map((label, place) => (label.trim() ? label : `class ${place}`));
        this.picture = new Picture(element("picture"), settings.frontend);
        this.rows = this.labels.map((label) => classRow(label));
        element("classes").replaceChildren(...this.rows.map(({ row }) => row));
        element("about").textContent = settings.about;
        element("rules").replaceChildren(...settings.rules_in_words.map((rule) => withText("li", rule)));
        element("card").hidden = !settings.card;
        this.announced = { text: "", at: -Infinity };
    }

    reset() {
        this.latest = "";
        this.took = [];
        element("history").replaceChildren();
        element("problem").textContent = "";
        this.picture.clear();
    }

    frames(frames) {
        this.picture.push(frames);
    }

    decision(decision, listener, lost) {
        const { heard, smoothed, likely, mean_square: square, took_ms, time_s } = decision;
        const text = heard === "class" ? likely.map((place) => this.labels[place]).join(", ") : WORDS[heard];
        element("decision").textContent = text;
        element("decision").dataset.heard = heard;
        this.rows.forEach(({ row, bar, number }, place) => {
            const share = smoothed[place] / UNIT;
            number.textContent = `${Math.round(100 * share)} %`;
            bar.style.setProperty("--share", share);
            row.classList.toggle("likely", likely.includes(place));
        });
        this.took = [...this.took, took_ms].slice(-TIMED);
        element("took").textContent = `${median(this.took).toFixed(1)} ms`;
        element("factor").textContent = listener.realTimeFactor.toFixed(4);
        element("level").textContent = square ? `${levelDbfs(square).toFixed(0)} dBFS` : "digital silence";
        const loss = lost ? `, ${(lost / listener.settings.sample_rate).toFixed(1)} s lost` : "";
        element("seconds").textContent = `${time_s.toFixed(1)} s${loss}`;
        if (text !== this.latest) this.remember(text, time_s);
        this.announce(text);
        document.dispatchEvent(new CustomEvent("decision", { detail: decision }));
    }

    remember(text, time_s) {
        this.latest = text;
        element("history").append(withText("li", `${time_s.toFixed(1)} s: ${text}`));
        while (element("history").children.length > HISTORY) element("history").firstChild.remove();
    }

    /** Tells a screen reader what changed, and not too often. */
    announce(text) {
        const now = performance.now();
        if (text === this.announced.text || now - this.announced.at < ANNOUNCE_MS) return;
        this.announced = { text, at: now };
        element("announcement").textContent = text;
    }

    problem(error) {
        element("problem").textContent = error.message;
    }
}

const WORDS = { none: "none of these", silence: "silence" };

function median(values) {
    const sorted = [...values].sort((one, other) => one - other);
    return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function withText(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
}

function classRow(label) {
    const [row, name, number] = [document.createElement("tr"), withText("th", label), withText("td", "–")];
    name.scope = "row";
    const bar = document.createElement("div");
    bar.className = "bar";
    name.append(bar);
    row.append(name, number);
    return { row, bar, number };
}

/** What the controls do. */
class Controls {
    constructor(settings, network, view) {
        Object.assign(this, { settings, network, view });
        element("listen").addEventListener("click", () => this.toggle());
        element("file").addEventListener("change", ({ target }) => {
            if (target.files.length) this.open(target.files[0]);
            target.value = ""; // so that the same file can be opened again
        });
        addEventListener("dragover", (event) => event.preventDefault());
        addEventListener("drop", (event) => {
            event.preventDefault();
            if (event.dataTransfer.files.length) this.open(event.dataTransfer.files[0]);
        });
        element("listen").disabled = element("file").disabled = false;
    }

    async toggle() {
        if (this.microphone) return this.stop();
        const session = await this.begin();
        const fail = (error) => this.fail(session, error);
        try {
            const hear = (block) => session.hear(block).catch(fail);
            const end = () => fail(new Error("The microphone has gone away."));
            const microphone = await Microphone.open(session.rate, hear, end);
            if (session.ended) return microphone.stop(); // something else began in the meantime
            this.microphone = microphone;
            element("listen").textContent = "Stop";
        } catch (error) {
            fail(error);
        }
    }

    async open(file) {
        const session = await this.begin();
        try {
            await session.hearAll(await decodeFile(file, session.rate));
        } catch (error) {
            this.fail(session, error);
        }
    }

    /** Ends what is heard; what begins next ends this session, even if it is still being opened. */
    async begin() {
        const stopped = this.stop();
        this.view.reset();
        const session = (this.session = new Session(this.settings, this.network, this.view));
        await stopped;
        return session;
    }

    /** Ends a session and shows why; one that was ended already has nothing to tell. */
    async fail(session, error) {
        if (session.ended) return;
        await this.stop();
        this.view.problem(error);
    }

    async stop() {
        if (this.session) this.session.ended = true;
        const { microphone } = this;
        this.microphone = null;
        element("listen").textContent = "Listen";
        await microphone?.stop();
    }
}

/** Keeps the page for when there is no network, with the files of LiteRT.js that this browser took. */
async function keepOffline() {
    if (!navigator.serviceWorker) return;
    await navigator.serviceWorker.register("./service-worker.js");
    const { active } = await navigator.serviceWorker.ready;
    navigator.serviceWorker.addEventListener("message", () => {
        element("offline").textContent = "Works offline from now on.";
    });
    navigator.serviceWorker.startMessages();
    const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
    active.postMessage(loaded.filter((name) => name.includes("/litert/")));
}

async function start() {
    const settings = await (await fetch("./page.json")).json();
    const view = new View(settings);
    const network = await Network.open(settings.model);
    await network.run(new Float32Array(settings.listening.samples)); // the first run sets up its memory
    new Controls(settings, network, view);
    keepOffline().catch((error) => {
        element("offline").textContent = "Does not work offline here.";
        console.info(error);
    });
}

start().catch((error) => {
    element("problem").textContent = `The page cannot start: ${error.message}`;
    console.error(error);
});
