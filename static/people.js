/**
 * Who is here: what the server has told, and who was heard since. Somebody who speaks is here at once, and not after the
 * next answer. Whoever writes without a connection, like a backend, is believed once: then the server's word counts.
 * Pure data: no page and no connection in here.
 */

const byName = new Intl.Collator();
const TALKING_MS = 5 * 60_000; // for so long after their last message people stand before the others

/** @typedef {{id: number, username: string, online: boolean}} User */

export class People {
  #me;
  #told = /** @type {Map<number, User> | null} */ (null);
  #heard = /** @type {Map<number, {id: number, username: string, at: number, round: number}>} */ (new Map());
  #unconnected = new Set(); // who was heard, and is not here by the server's word
  #isWhole = true; // whether the server told of everybody who is online
  #round = 0; // of questions: what was heard after a question is newer than its answer
  #toldRound = 0;
  #list = /** @type {User[] | null} */ (null); // it is asked for with every frame

  /** @param {number} me */
  constructor(me) { this.#me = me; }

  /** Whether there is anything to show. */
  get isKnown() { return this.#told !== null || this.#heard.size > 0; }

  /** @returns {boolean} whether that is news, which the server should be asked about */
  heard({ fromUser: id, username }, now = Date.now()) {
    if (id === this.#me) return false;
    const isNews = !this.#isHere(id, now) && !this.#unconnected.has(id);
    if (isNews || !this.#heard.has(id)) this.#list = null;
    // Whose presence the server has denied stays away until it says otherwise.
    const round = this.#unconnected.has(id) ? this.#toldRound - 1 : this.#round;
    this.#heard.set(id, { id, username, at: now, round });
    return isNews;
  }

  /** A question goes out. @returns {number} which one, for the answer */
  asking() { return this.#round += 1; }

  /**
   * @param {number} round of the question @param {User[]} users
   * @param {boolean} isWhole whether everybody who is online is among them
   */
  told(round, users, isWhole, now = Date.now()) {
    this.#told = new Map(users.map((user) => [user.id, user]));
    this.#isWhole = isWhole;
    this.#toldRound = round;
    this.#list = null;
    for (const [id, { at, round: heardIn }] of this.#heard) {
      if (this.#told.get(id)?.online) this.#unconnected.delete(id);
      else if (isWhole && heardIn < round) this.#unconnected.add(id);
      if (now - at > TALKING_MS) this.#heard.delete(id);
    }
  }

  /** The others: those who are here first, and of them those who talk. @returns {User[]} */
  list(now = Date.now()) {
    this.#list ??= this.#sorted(now);
    return this.#list;
  }

  #sorted(now) {
    const all = new Map(this.#told);
    for (const { id, username } of this.#heard.values()) all.set(id, { id, username: all.get(id)?.username ?? username, online: this.#isHere(id, now) });
    all.delete(this.#me);
    const rank = ({ id, online }) => (online ? Number(!this.#heard.has(id)) : 2);
    return [...all.values()].sort((one, other) => rank(one) - rank(other) || byName.compare(one.username, other.username) || one.id - other.id);
  }

  #isHere(id, now) {
    if (this.#told?.get(id)?.online) return true;
    const heard = this.#heard.get(id);
    if (!heard) return false;
    return heard.round >= this.#toldRound || (!this.#isWhole && now - heard.at < TALKING_MS);
  }
}
