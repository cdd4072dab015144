-- What the writer does while the log is locked: functions of its session's own, which end with it, so that they are always
-- those of the program that calls them. A call is one statement: the lock is taken when all that is to be stored has arrived
-- with it, and however slow the network is, nobody waits for that. Within a function each statement sees what was committed
-- before it began: what follows the lock sees what whoever held it before has stored.

-- As many ids as are needed, which nobody has or will have, all of them after `last`. The log MUST be locked.
--
-- What the sequence gives may lie before the end of the log, when another connection drew numbers ahead (CACHE) or somebody
-- set it back, and may be the id of a row, when somebody chose ids himself: those are passed by, and the sequence is moved
-- on. By drawing, where it is not far: so nobody who draws meanwhile can be set back.
CREATE OR REPLACE FUNCTION pg_temp.chat_draw(last BIGINT, needed BIGINT) RETURNS BIGINT[] LANGUAGE plpgsql AS $$
DECLARE
    seq    REGCLASS := pg_get_serial_sequence('messages', 'id');
    step   BIGINT := needed;
    ids    BIGINT[] := '{}';
    more   BIGINT[];
    behind BIGINT;
BEGIN
    LOOP
        SELECT array_agg(id ORDER BY id) INTO more
        FROM (SELECT nextval(seq)::bigint AS id FROM generate_series(1, step) OFFSET 0) AS d
        WHERE id > last AND (SELECT true FROM messages m WHERE m.id = d.id) IS NULL;
        ids := ids || more;
        EXIT WHEN cardinality(ids) >= needed;
        behind := last - coalesce(pg_sequence_last_value(seq), 0);
        IF behind > 10000 THEN
            PERFORM setval(seq, last);
        END IF;
        step := least(10000, greatest(2 * step, needed));
    END LOOP;
    RETURN ids[1:needed];
END $$;

-- Stores messages, in order, and moves the ends of the log and of their conversations. The columns' values stand at the same
-- place of each array; `ms` is when. Tells where the log ended before, their ids and seqs, and their contents if another
-- program's trigger has changed one. A message that is not stored as it must be undoes it all.
CREATE OR REPLACE FUNCTION pg_temp.chat_append(
    p_from BIGINT[], p_to BIGINT[], p_room TEXT[], p_content TEXT[], p_nonce BYTEA[], p_ms BIGINT,
    OUT o_before BIGINT, OUT o_ids BIGINT[], OUT o_seqs BIGINT[], OUT o_contents TEXT[]) LANGUAGE plpgsql AS $$
DECLARE
    ids    BIGINT[];
    seqs   BIGINT[];
    is_own BOOLEAN;
BEGIN
    SELECT position INTO STRICT o_before FROM chat_log WHERE one = 1 FOR UPDATE;
    -- Of what is waited for from here on, nothing is worth that all the others wait as well.
    PERFORM set_config('lock_timeout', '200', true);
    ids := pg_temp.chat_draw(o_before, cardinality(p_from));
    UPDATE chat_log SET position = ids[cardinality(ids)];
    WITH new AS (
        SELECT *, CASE WHEN room IS NULL THEN least(from_user, to_user) END AS low,
            CASE WHEN room IS NULL THEN greatest(from_user, to_user) END AS high
        FROM unnest(p_from, p_to, p_room, p_content, p_nonce, ids)
            WITH ORDINALITY AS n (from_user, to_user, room, content, nonce, id, ord)),
    placed AS (
        SELECT *, row_number() OVER (PARTITION BY room, low, high ORDER BY ord) AS nth,
            count(*) OVER (PARTITION BY room, low, high) AS all_of_it
        FROM new),
    rooms_moved AS (
        INSERT INTO chat_rooms AS old (name, last_position, last_seq)
        SELECT room, max(id), count(*) + CASE WHEN EXISTS (SELECT 1 FROM chat_rooms c WHERE c.name = room) THEN 0
            ELSE coalesce((SELECT m.chat_seq FROM messages m WHERE m.room = placed.room AND m.chat_position > 0
                ORDER BY m.chat_position DESC LIMIT 1), 0) END
        FROM placed WHERE room IS NOT NULL GROUP BY room
        ON CONFLICT (name) DO UPDATE
            SET last_position = excluded.last_position, last_seq = old.last_seq + excluded.last_seq
        RETURNING name, last_seq),
    pairs_moved AS (
        INSERT INTO chat_dms AS old (low, high, last_position, last_seq)
        SELECT low, high, max(id), count(*) FROM placed WHERE room IS NULL GROUP BY low, high
        ON CONFLICT (low, high) DO UPDATE
            SET last_position = excluded.last_position, last_seq = old.last_seq + excluded.last_seq
        RETURNING low, high, last_seq),
    counted AS (
        SELECT placed.*, coalesce(r.last_seq, p.last_seq) - all_of_it + nth AS seq
        FROM placed LEFT JOIN rooms_moved r ON r.name = placed.room
        LEFT JOIN pairs_moved p ON p.low = placed.low AND p.high = placed.high),
    stored AS (
        INSERT INTO messages
            (id, chat_position, from_user, to_user, room, content, "timestamp", chat_ms, chat_seq, chat_nonce)
        SELECT id, id, from_user, to_user, room, content, to_timestamp(p_ms / 1000.0), p_ms, seq, nonce
        FROM counted ORDER BY ord
        RETURNING chat_position, chat_seq, from_user::bigint AS from_user, to_user::bigint AS to_user, room::text AS room,
            content::text AS content, chat_nonce, chat_ms)
    SELECT array_agg(chat_position ORDER BY chat_position), array_agg(chat_seq ORDER BY chat_position),
        array_agg(content ORDER BY chat_position),
        array_agg(from_user ORDER BY chat_position) = p_from AND array_agg(to_user ORDER BY chat_position) = p_to
            AND array_agg(room ORDER BY chat_position) = p_room AND array_agg(chat_nonce ORDER BY chat_position) = p_nonce
            AND bool_and(chat_ms = p_ms AND content <> ''),
        (SELECT array_agg(seq ORDER BY ord) FROM counted)
    INTO o_ids, o_seqs, o_contents, is_own, seqs FROM stored;
    IF is_own IS NOT TRUE OR o_ids IS DISTINCT FROM ids OR o_seqs IS DISTINCT FROM seqs THEN
        RAISE EXCEPTION 'a trigger of another program does not store a message as it was sent';
    END IF;
    IF o_contents = p_content THEN
        o_contents := NULL;
    END IF;
END $$;
