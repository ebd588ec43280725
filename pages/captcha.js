// <contactapi-captcha challenge="https://…/f/<key>/challenge"> in a <form>: proof of work
// (ALTCHA 2), solved while the page is read, put into the hidden field `altcha`; a form
// that is sent sooner waits. The attributes `working`, `done`, `failed` and `insecure` are
// your own words for what it says.
(() => {
  const TEXTS = {
    working: "Checking that this is no robot …",
    done: "Checked: this is no robot",
    failed: "The check failed to load; sending tries again",
    insecure: "This form needs a secure connection (https)",
  };
  const STYLE = `
    :host(:not([hidden])) { display: block; margin-block: .75em; font-size: .875em }
    p { display: flex; align-items: center; gap: .6em; margin: 0 }
    i { flex: none; width: .8em; height: .8em; border: .15em solid; border-radius: 50% }
    .working i { border-top-color: transparent }
    .done i { width: .3em; border-width: 0 .18em .18em 0; border-radius: 0;
      margin: 0 .35em .2em; rotate: 45deg }
    @media (prefers-reduced-motion: no-preference) {
      .working i { animation: turn 1s linear infinite } }
    @keyframes turn { to { rotate: 1turn } }`;
  const NAME = "contactapi-captcha";
  const MINUTE = 60_000;

  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (two) => +`0x${two}`);
  const hex = (buffer) =>
    Array.from(new Uint8Array(buffer), (n) => n.toString(16).padStart(2, "0")).join("");

  async function derive({ nonce, salt, cost, keyLength }, counter) {
    const password = bytes(nonce + counter.toString(16).padStart(8, "0"));
    const { subtle } = crypto;
    const key = await subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
    const how = { name: "PBKDF2", hash: "SHA-256", salt: bytes(salt), iterations: cost };
    return hex(await subtle.deriveBits(how, key, keyLength * 8));
  }

  // The browser derives in threads of its own: it needs no worker, which a policy on
  // scripts may refuse.
  async function solve(parameters) {
    for (let first = 0; ; first += 4) { // as many cores has a phone
      const tries = [0, 1, 2, 3].map((n) => derive(parameters, first + n));
      const keys = await Promise.all(tries);
      const n = keys.findIndex((key) => key.startsWith(parameters.keyPrefix));
      if (n >= 0) return { counter: first + n, derivedKey: keys[n] };
    }
  }

  class Captcha extends HTMLElement {
    connectedCallback() {
      if (!this.shadowRoot) this.draw();
      for (const type of EVENTS) addEventListener(type, this, true);
      this.renew();
    }

    disconnectedCallback() {
      for (const type of EVENTS) removeEventListener(type, this, true);
      clearTimeout(this.timer);
    }

    draw() {
      const make = (name) => document.createElement(name);
      this.field = Object.assign(make("input"), { type: "hidden", name: "altcha" });
      this.replaceChildren(this.field); // in a copied page there may be one
      this.line = make("p");
      this.line.setAttribute("role", "status");
      this.line.append(make("i"), make("span"));
      const root = this.attachShadow({ mode: "open" });
      root.append(this.line);
      if (!root.adoptedStyleSheets) return; // an old Safari shows it plain
      const sheet = new CSSStyleSheet(); // no policy on styles refuses this kind
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
    }

    say(state) {
      const text = this.getAttribute(state) || TEXTS[state];
      const told = this.line.lastChild;
      this.line.className = state;
      if (told.textContent !== text) told.textContent = text; // is said once
    }

    // For your scripts, too. The field keeps its value until there is a newer one.
    renew() {
      this.working ||= this.fill().finally(() => (this.working = null));
      return this.working;
    }

    async fill() {
      this.until = 0;
      if (!globalThis.crypto?.subtle) return this.say("insecure");
      if (!this.field.value) this.say("working");
      try {
        const url = this.getAttribute("challenge");
        const answer = await fetch(url);
        if (!answer.ok) throw new Error(`${answer.status} from ${url}`);
        const challenge = await answer.json();
        const solution = await solve(challenge.parameters);
        this.field.value = btoa(JSON.stringify({ challenge, solution }));
        // By a wrong clock it is neither kept for ever nor asked all the time.
        const left = challenge.parameters.expiresAt * 1000 - Date.now();
        this.keep(Math.min(Math.max(left, 2 * MINUTE), 10 * MINUTE) - MINUTE);
        this.say("done");
      } catch (error) {
        console.warn(NAME, error);
        this.say("failed");
      }
    }

    keep(milliseconds) {
      clearTimeout(this.timer);
      this.until = performance.now() + milliseconds;
      this.timer = setTimeout(() => this.renewIfSeen(), milliseconds);
    }

    renewIfSeen() {
      if (this.isConnected && !document.hidden) this.renew();
    }

    handleEvent(event) {
      const due = this.working || performance.now() >= this.until;
      if (event.type !== "submit") due && this.renewIfSeen();
      else if (event.target === this.closest("form") && !this.passing) this.hold(event, due);
    }

    // Without a solution the form is sent, too: the server says what is wrong.
    async hold(event, due) {
      if (due) {
        event.preventDefault();
        event.stopImmediatePropagation();
        if (this.waiting) return;
        this.waiting = true;
        this.say("working");
        await this.renew();
        await new Promise(setTimeout); // the event must be over
        this.waiting = false;
        this.passing = true;
        event.target.requestSubmit(event.submitter);
        this.passing = false;
      }
      this.keep(2000); // it is spent: who stays on the page needs another one
      this.until = 0;
    }
  }

  const EVENTS = ["submit", "pageshow", "visibilitychange"];
  if (!customElements.get(NAME)) customElements.define(NAME, Captcha);
})();
