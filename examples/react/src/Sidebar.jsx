/** Rooms, direct messages and people. What is unread is counted beside its conversation. */

import { describe } from './directory.js';

export function Sidebar({ chat, directory, rooms, current, onOpen }) {
  const others = directory.rooms.filter(({ name }) => !rooms.includes(name));
  const peers = [...new Set([...Object.keys(chat.dms).map(Number), ...directory.dms.map((dm) => dm.with.id)])];
  const people = directory.people.filter(({ id }) => id !== chat.me?.id && !peers.includes(id));

  const joinRoom = (event) => {
    event.preventDefault();
    const room = new FormData(event.target).get('room').trim().replace(/^#/, '');
    event.target.reset();
    if (room) onOpen({ room });
  };

  const entry = (place, unread = 0) => {
    const { key, title } = describe(place, chat, directory);
    return (
      <li key={key}>
        <button className="entry" aria-current={key === current ? 'page' : undefined} onClick={() => onOpen(place)}>
          <bdi>{title}</bdi>
          {unread > 0 && <span className="badge">{unread}<span className="unseen"> unread</span></span>}
        </button>
      </li>
    );
  };

  return (
    <nav aria-label="Conversations">
      <h2 id="rooms">Rooms</h2>
      <ul aria-labelledby="rooms">{rooms.map((room) => entry({ room }, chat.rooms[room]?.unread))}</ul>
      <form className="row" onSubmit={joinRoom}>
        <input name="room" aria-label="Room name" placeholder="Room name" maxLength={65} autoComplete="off" list="other-rooms" />
        <datalist id="other-rooms">{others.map(({ name }) => <option key={name} value={name} />)}</datalist>
        <button>Join</button>
      </form>
      {peers.length > 0 && <h2 id="dms">Direct messages</h2>}
      <ul aria-labelledby="dms">{peers.map((peer) => entry({ with: peer }, chat.dms[peer]?.unread))}</ul>
      <h2 id="people">People here</h2>
      {people.length === 0 && <p className="quiet">Nobody else at the moment.</p>}
      <ul aria-labelledby="people">{people.map(({ id }) => entry({ with: id }))}</ul>
    </nav>
  );
}
