-- Times are microseconds since 1970, those of allocations RFC 3339 texts with nanoseconds. Amounts are decimal texts:
-- their scale is part of what clients see. `owner` is the identity of this node whose row it is.

CREATE TABLE agreement (
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('R', 'P')),
    peer       TEXT NOT NULL,
    payee_addr TEXT NOT NULL,
    payer_addr TEXT NOT NULL,
    platform   TEXT NOT NULL,
    session    TEXT,
    due        TEXT NOT NULL DEFAULT '0',
    accepted   TEXT NOT NULL DEFAULT '0',
    scheduled  TEXT NOT NULL DEFAULT '0',
    paid       TEXT NOT NULL DEFAULT '0',
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE TABLE activity (
    owner     TEXT NOT NULL,
    id        TEXT NOT NULL,
    agreement TEXT NOT NULL,
    due       TEXT NOT NULL DEFAULT '0',
    accepted  TEXT NOT NULL DEFAULT '0',
    scheduled TEXT NOT NULL DEFAULT '0',
    paid      TEXT NOT NULL DEFAULT '0',
    created   INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    PRIMARY KEY (owner, id),
    FOREIGN KEY (owner, agreement) REFERENCES agreement (owner, id)
) WITHOUT ROWID;
CREATE INDEX activity_agreement ON activity (owner, agreement);

CREATE TABLE note (
    seq       INTEGER PRIMARY KEY,
    owner     TEXT NOT NULL,
    id        TEXT NOT NULL,
    agreement TEXT NOT NULL,
    activity  TEXT NOT NULL,
    previous  TEXT,
    timestamp INTEGER NOT NULL,
    amount    TEXT NOT NULL,
    usage     TEXT,
    due_date  INTEGER,
    status    TEXT NOT NULL,
    UNIQUE (owner, id),
    FOREIGN KEY (owner, activity) REFERENCES activity (owner, id)
);
CREATE INDEX note_activity ON note (owner, activity, seq);
CREATE INDEX note_agreement ON note (owner, agreement);
CREATE INDEX note_time ON note (owner, timestamp);

CREATE TABLE invoice (
    seq        INTEGER PRIMARY KEY,
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    agreement  TEXT NOT NULL,
    activities TEXT NOT NULL, -- JSON
    timestamp  INTEGER NOT NULL,
    amount     TEXT NOT NULL,
    due_date   INTEGER NOT NULL,
    status     TEXT NOT NULL,
    UNIQUE (owner, id),
    FOREIGN KEY (owner, agreement) REFERENCES agreement (owner, id)
);
CREATE INDEX invoice_agreement ON invoice (owner, agreement);
CREATE INDEX invoice_time ON invoice (owner, timestamp);

-- At most one event of each type per document and owner. Dates of an owner are distinct and grow.
CREATE TABLE event (
    owner    TEXT NOT NULL,
    date     INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('I', 'D')),
    document TEXT NOT NULL,
    type     TEXT NOT NULL,
    role     TEXT NOT NULL,
    session  TEXT,
    detail   TEXT, -- JSON
    PRIMARY KEY (owner, date),
    UNIQUE (owner, kind, document, type)
) WITHOUT ROWID;

CREATE TABLE allocation (
    id             TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    address        TEXT NOT NULL,
    platform       TEXT NOT NULL,
    total          TEXT NOT NULL,
    spent          TEXT NOT NULL,
    created        TEXT NOT NULL,
    updated        TEXT NOT NULL,
    timeout        TEXT NOT NULL,
    deposit        TEXT, -- JSON
    deposit_status TEXT, -- open, closing
    released       INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX allocation_owner ON allocation (owner, released);

-- What an allocation has paid for; `activity` is empty for the rest of an invoice.
CREATE TABLE expenditure (
    allocation TEXT NOT NULL REFERENCES allocation (id),
    agreement  TEXT NOT NULL,
    activity   TEXT NOT NULL DEFAULT '',
    accepted   TEXT NOT NULL DEFAULT '0',
    scheduled  TEXT NOT NULL DEFAULT '0',
    paid       TEXT NOT NULL DEFAULT '0',
    -- accepted and scheduled differ
    open       INTEGER NOT NULL DEFAULT 0,
    -- accepted and paid differ
    owed       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (allocation, agreement, activity)
) WITHOUT ROWID;
CREATE INDEX expenditure_open ON expenditure (open) WHERE open = 1;
CREATE INDEX expenditure_owed ON expenditure (owed) WHERE owed = 1;

CREATE TABLE batch_order (
    id         TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    payer_addr TEXT NOT NULL,
    platform   TEXT NOT NULL,
    total      TEXT NOT NULL,
    paid       TEXT NOT NULL DEFAULT '0',
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX batch_order_owner ON batch_order (owner, created);

-- `new`: the driver may not know it yet; `sent`: the driver has it; `paid`: confirmed; `dropped`: given up, open again.
CREATE TABLE batch_item (
    batch      TEXT NOT NULL REFERENCES batch_order (id),
    payee_addr TEXT NOT NULL,
    allocation TEXT NOT NULL REFERENCES allocation (id),
    amount     TEXT NOT NULL,
    payment    TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'new',
    PRIMARY KEY (batch, payee_addr, allocation)
) WITHOUT ROWID;
CREATE INDEX batch_item_payment ON batch_item (payment);
CREATE INDEX batch_item_new ON batch_item (state) WHERE state = 'new';

CREATE TABLE batch_document (
    batch      TEXT NOT NULL,
    payee_addr TEXT NOT NULL,
    allocation TEXT NOT NULL,
    agreement  TEXT NOT NULL,
    activity   TEXT NOT NULL DEFAULT '',
    peer       TEXT NOT NULL,
    amount     TEXT NOT NULL,
    -- The invoice or note that was accepted last when the order was made.
    document   TEXT,
    PRIMARY KEY (batch, payee_addr, allocation, agreement, activity),
    FOREIGN KEY (batch, payee_addr, allocation) REFERENCES batch_item (batch, payee_addr, allocation)
) WITHOUT ROWID;
CREATE INDEX batch_document_agreement ON batch_document (agreement);
CREATE INDEX batch_document_allocation ON batch_document (allocation);

CREATE TABLE batch_cycle (
    owner         TEXT NOT NULL,
    platform      TEXT NOT NULL,
    interval_ms   INTEGER,
    cron          TEXT,
    max_ms        INTEGER NOT NULL,
    extra_ms      INTEGER NOT NULL,
    next          INTEGER NOT NULL,
    last          INTEGER,
    PRIMARY KEY (owner, platform)
) WITHOUT ROWID;

-- One payment id may pay two peers; each has its own row.
CREATE TABLE payment (
    owner        TEXT NOT NULL,
    id           TEXT NOT NULL,
    peer         TEXT NOT NULL,
    role         TEXT NOT NULL,
    payer_addr   TEXT NOT NULL,
    payee_addr   TEXT NOT NULL,
    platform     TEXT NOT NULL,
    amount       TEXT NOT NULL,
    timestamp    INTEGER NOT NULL,
    details      TEXT NOT NULL,
    agreements   TEXT NOT NULL, -- JSON, in the order in which they are signed
    activities   TEXT NOT NULL,
    signature    BLOB,
    signed_bytes BLOB,
    PRIMARY KEY (owner, id, peer)
) WITHOUT ROWID;
CREATE INDEX payment_details ON payment (owner, details);
CREATE INDEX payment_time ON payment (owner, timestamp);

-- Agreements that a payment touches, by itself or through an activity.
CREATE TABLE payment_agreement (
    owner     TEXT NOT NULL,
    agreement TEXT NOT NULL,
    payment   TEXT NOT NULL,
    peer      TEXT NOT NULL,
    PRIMARY KEY (owner, agreement, payment, peer)
) WITHOUT ROWID;
CREATE INDEX payment_agreement_payment ON payment_agreement (owner, payment, peer);

-- What a peer must still be told.
CREATE TABLE outbox (
    owner  TEXT NOT NULL,
    peer   TEXT NOT NULL,
    kind   TEXT NOT NULL, -- accept_note, accept_invoice, reject_invoice, payment
    object TEXT NOT NULL,
    PRIMARY KEY (owner, peer, kind, object)
) WITHOUT ROWID;

CREATE TABLE sync_peer (
    owner   TEXT NOT NULL,
    peer    TEXT NOT NULL,
    next    INTEGER,          -- null: tried often enough
    retries INTEGER NOT NULL,
    PRIMARY KEY (owner, peer)
) WITHOUT ROWID;
CREATE INDEX sync_peer_next ON sync_peer (next);
