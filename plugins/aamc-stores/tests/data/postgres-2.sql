CREATE TABLE public.old_entries (
    n bigint NOT NULL,
    "position" bigint,
    kind text NOT NULL,
    id text NOT NULL,
    decision_id text NOT NULL,
    candidate text NOT NULL,
    content text NOT NULL,
    "time" double precision NOT NULL,
    embedding bytea
);
CREATE SEQUENCE public.old_entries_n_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.old_entries_n_seq OWNED BY public.old_entries.n;
CREATE TABLE public.old_erasures (
    epoch bigint NOT NULL,
    "time" timestamp with time zone DEFAULT now() NOT NULL,
    who text
);
CREATE SEQUENCE public.old_erasures_epoch_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.old_erasures_epoch_seq OWNED BY public.old_erasures.epoch;
CREATE TABLE public.old_version (
    number integer NOT NULL
);
CREATE TABLE public.old_views (
    n bigint NOT NULL,
    name text NOT NULL,
    "position" bigint NOT NULL,
    content bytea NOT NULL,
    last text DEFAULT ''::text NOT NULL
);
CREATE SEQUENCE public.old_views_n_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.old_views_n_seq OWNED BY public.old_views.n;
ALTER TABLE ONLY public.old_entries ALTER COLUMN n SET DEFAULT nextval('public.old_entries_n_seq'::regclass);
ALTER TABLE ONLY public.old_erasures ALTER COLUMN epoch SET DEFAULT nextval('public.old_erasures_epoch_seq'::regclass);
ALTER TABLE ONLY public.old_views ALTER COLUMN n SET DEFAULT nextval('public.old_views_n_seq'::regclass);
INSERT INTO public.old_entries VALUES (1, 1, 'decision', 'd', 'd', 'b', '{"decision": {"id": "d", "candidate": "b", "propensity": 0.25, "preference": [0.5, 0.25, 0.25], "probabilities": {"a": 0.75, "b": 0.25}, "router": "tiny", "notes": {"spent_usd": 0.5}}, "query": {"text": "What is it?", "user": "ann", "session": "s", "needs": ["code", "tools"], "prompt_tokens": null, "output_tokens": 9, "cached_on": null}, "estimates": {"complexity": 0.25, "categories": [0.75, 0.25], "category_names": ["code", "chat"], "tool_use": null, "fingerprint": "one"}, "candidates": ["a", "b", "c"], "expected": {"quality": null, "cost_usd": [0.1, 0.2, null], "latency_ms": [1.0, 2.0, 3.0]}, "wait_ms": [0.0, 5.0, 0.0], "masked_why": {"c": "over budget"}}', 12.5, '\x0000003f0000c0bf');
INSERT INTO public.old_entries VALUES (2, 2, 'decision', 'e', 'e', 'b', '{"decision": {"id": "e", "candidate": "b", "propensity": 0.25, "preference": [0.5, 0.25, 0.25], "probabilities": {"a": 0.75, "b": 0.25}, "router": "tiny", "notes": {"spent_usd": 0.5}}, "query": {"text": "What is it?", "user": "bob", "session": "s", "needs": ["code", "tools"], "prompt_tokens": null, "output_tokens": 9, "cached_on": null}, "estimates": {"complexity": 0.25, "categories": [0.75, 0.25], "category_names": ["code", "chat"], "tool_use": null, "fingerprint": "one"}, "candidates": ["a", "b", "c"], "expected": {"quality": null, "cost_usd": [0.1, 0.2, null], "latency_ms": [1.0, 2.0, 3.0]}, "wait_ms": [0.0, 5.0, 0.0], "masked_why": {"c": "over budget"}}', 12.5, '\x0000003f0000c0bf');
INSERT INTO public.old_entries VALUES (3, 3, 'attempt', 'd/0', 'd', 'b', '{"decision_id": "d", "n": 0, "candidate": "b", "cost_usd": null, "latency_ms": null, "output_tokens": null, "error": "timed out"}', 1795227495.78485, NULL);
INSERT INTO public.old_entries VALUES (4, 4, 'attempt', 'd/1', 'd', 'a', '{"decision_id": "d", "n": 1, "candidate": "a", "cost_usd": 0.25, "latency_ms": 20.0, "output_tokens": 7, "error": null}', 1795227495.7875612, NULL);
INSERT INTO public.old_entries VALUES (5, 5, 'attempt', 'd/feedback/d/explicit', 'd', 'a', '{"decision_id": "d", "n": 2, "candidate": "", "cost_usd": 0.5, "latency_ms": null, "output_tokens": null, "error": null, "feedback": "d/explicit"}', 1795227495.7965214, NULL);
INSERT INTO public.old_entries VALUES (6, 6, 'feedback', 'd/explicit', 'd', 'a', '{"decision_id": "d", "quality": 1.0, "candidate": null, "over": null, "tie": false, "confidence": 1.0, "weight": 1.0, "source": "explicit", "id": "d/explicit"}', 3, NULL);
INSERT INTO public.old_entries VALUES (7, 7, 'feedback', 'e/judge', 'e', 'c', '{"decision_id": "e", "quality": null, "candidate": "c", "over": "a", "tie": false, "confidence": 1.0, "weight": 1.0, "source": "judge", "id": "e/judge"}', 4, NULL);
INSERT INTO public.old_entries VALUES (8, NULL, 'attempt', 'later/feedback/later/explicit', 'later', '', '{"decision_id": "later", "n": 0, "candidate": "", "cost_usd": null, "latency_ms": 1.0, "output_tokens": null, "error": null, "feedback": "later/explicit"}', 1795227495.8087966, NULL);
INSERT INTO public.old_entries VALUES (9, NULL, 'feedback', 'later/explicit', 'later', '', '{"decision_id": "later", "quality": 0.5, "candidate": null, "over": null, "tie": false, "confidence": 1.0, "weight": 1.0, "source": "explicit", "id": "later/explicit"}', 5, NULL);
INSERT INTO public.old_entries VALUES (10, NULL, 'attempt', 'later/4', 'later', '', '{"decision_id": "later", "n": 4, "candidate": "", "cost_usd": null, "latency_ms": null, "output_tokens": null, "error": null}', 1795227495.8105593, NULL);
INSERT INTO public.old_entries VALUES (11, 8, 'decision', 'f', 'f', 'b', '{"decision": {"id": "f", "candidate": "b", "propensity": null, "preference": [0.5, 0.25, 0.25], "probabilities": {"a": 0.75, "b": 0.25}, "router": "tiny", "notes": {"spent_usd": 0.5}}, "query": {"text": "What is it?", "user": "ann", "session": "s", "needs": ["code", "tools"], "prompt_tokens": null, "output_tokens": 9, "cached_on": null}, "estimates": {"complexity": 0.25, "categories": [0.75, 0.25], "category_names": ["code", "chat"], "tool_use": null, "fingerprint": "one"}, "candidates": ["a", "b", "c"], "expected": {"quality": null, "cost_usd": [0.1, 0.2, null], "latency_ms": [1.0, 2.0, 3.0]}, "wait_ms": [0.0, 5.0, 0.0], "masked_why": {"c": "over budget"}, "preference_given": false}', 12.5, '\x0000003f0000c0bf');
INSERT INTO public.old_erasures VALUES (1, '2026-11-21 02:18:15.816426+00', '2b4fa00adb03666ab5b23ff53766430104ae5de36305269eed188c2542bdb8f0');
INSERT INTO public.old_version VALUES (2);
INSERT INTO public.old_views VALUES (1, 'router', 8, '\x7374617465', 'decision/f');
SELECT pg_catalog.setval('public.old_entries_n_seq', 11, true);
SELECT pg_catalog.setval('public.old_erasures_epoch_seq', 1, true);
SELECT pg_catalog.setval('public.old_views_n_seq', 1, true);
ALTER TABLE ONLY public.old_entries
    ADD CONSTRAINT old_entries_kind_id_key UNIQUE (kind, id);
ALTER TABLE ONLY public.old_entries
    ADD CONSTRAINT old_entries_pkey PRIMARY KEY (n);
ALTER TABLE ONLY public.old_entries
    ADD CONSTRAINT old_entries_position_key UNIQUE ("position");
ALTER TABLE ONLY public.old_erasures
    ADD CONSTRAINT old_erasures_pkey PRIMARY KEY (epoch);
ALTER TABLE ONLY public.old_views
    ADD CONSTRAINT old_views_name_key UNIQUE (name);
ALTER TABLE ONLY public.old_views
    ADD CONSTRAINT old_views_pkey PRIMARY KEY (n);
CREATE INDEX old_entries_decision_id_position_idx ON public.old_entries USING btree (decision_id, "position");
