/** Enter sends, Shift+Enter begins a line. What was begun in another conversation is still there on the way back. */

import { useState } from 'react';

export function Composer({ label, drafts, draft, onSend }) {
  const [text, setText] = useState(drafts.get(draft) ?? '');

  const change = (value) => {
    drafts.set(draft, value);
    setText(value);
  };
  const send = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    onSend(text);
    change('');
  };
  const onKeyDown = (event) => {
    // Enter also chooses a word in an input method.
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) send(event);
  };

  return (
    <form className="composer" onSubmit={send}>
      <textarea
        aria-label={label} placeholder={label} rows={2} dir="auto" value={text}
        onChange={({ target }) => change(target.value)} onKeyDown={onKeyDown}
      />
      <button className="primary" disabled={!text.trim()}>Send</button>
    </form>
  );
}
