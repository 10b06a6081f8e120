CREATE TABLE account (
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    mode INTEGER NOT NULL,
    PRIMARY KEY (network, address)
) WITHOUT ROWID;

CREATE TABLE tx (
    id INTEGER PRIMARY KEY,
    network TEXT NOT NULL,
    sender TEXT NOT NULL,
    nonce INTEGER NOT NULL,
    target TEXT NOT NULL,
    input BLOB NOT NULL,
    gas_limit INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'lost')),
    created_at INTEGER NOT NULL,
    mined_hash BLOB,
    mined_block INTEGER,
    succeeded INTEGER,
    -- Looked at again when it lay deep; nothing is to be done any more.
    settled INTEGER NOT NULL DEFAULT 0
);
-- Mostly one for each account and network; more when a reorganisation undid a final one.
CREATE INDEX tx_open ON tx (network, sender) WHERE state = 'open';
CREATE INDEX tx_unsettled ON tx (network, sender) WHERE state = 'done' AND settled = 0;

CREATE TABLE attempt (
    hash BLOB PRIMARY KEY,
    tx INTEGER NOT NULL REFERENCES tx (id),
    raw BLOB NOT NULL,
    max_fee TEXT NOT NULL,
    tip TEXT NOT NULL,
    made_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX attempt_of ON attempt (tx);

CREATE TABLE transfer (
    payment_id TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    sender TEXT NOT NULL,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    amount TEXT NOT NULL,
    deposit_contract TEXT,
    deposit_id TEXT,
    due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    notify INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'paid', 'told', 'abandoned', 'buried')),
    tx INTEGER REFERENCES tx (id),
    reason TEXT
) WITHOUT ROWID;
CREATE INDEX transfer_queue ON transfer (network, sender) WHERE state = 'queued';
CREATE INDEX transfer_of ON transfer (tx) WHERE tx IS NOT NULL;
CREATE INDEX transfer_news ON transfer (state) WHERE state IN ('paid', 'abandoned');
