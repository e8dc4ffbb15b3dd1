-- A few columns of GoCD's tables (GoCD: create-schema.xml). No uniqueness on (name, counter), as there.
CREATE TABLE databasechangelog (id text NOT NULL, dateexecuted timestamptz NOT NULL DEFAULT now());
CREATE TABLE pipelines (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    counter bigint NOT NULL,
    label text NOT NULL,
    createdtime timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE pipelinelabelcounts (
    id bigserial PRIMARY KEY,
    pipelinename text NOT NULL,
    labelcount bigint NOT NULL
);
CREATE TABLE stages (
    id bigserial PRIMARY KEY,
    pipelineid bigint NOT NULL REFERENCES pipelines (id),
    name text NOT NULL,
    counter bigint NOT NULL,
    state text NOT NULL
);
CREATE TABLE builds (
    id bigserial PRIMARY KEY,
    stageid bigint NOT NULL REFERENCES stages (id),
    name text NOT NULL,
    state text NOT NULL,
    result text NOT NULL,
    agentuuid text,
    ignored boolean NOT NULL,
    scheduleddate timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_build_state ON builds (state);
CREATE INDEX idx_stage_state ON stages (state);
CREATE TABLE agents (
    id bigserial PRIMARY KEY,
    uuid text NOT NULL UNIQUE,
    cookie text,
    hostname text NOT NULL,
    ipaddress text NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    deleted boolean NOT NULL DEFAULT false
);
CREATE TABLE serverbackups (
    id bigserial PRIMARY KEY,
    path text,
    time timestamptz,
    username text,
    status text,
    message text
);
CREATE TABLE accesstoken (
    id bigserial PRIMARY KEY,
    value text NOT NULL,
    saltvalue text NOT NULL,
    username text NOT NULL,
    revoked boolean NOT NULL DEFAULT false
);
INSERT INTO databasechangelog (id) VALUES ('stand-in-1');
