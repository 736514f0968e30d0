-- Makes roles and databases that do not exist, and gives every role its password of /run/secrets.
-- Runs at every start, as the superuser. The rights to tables come from the migrations.
SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[
    'auth', 'auth_api', 'auth_relay', 'auth_operator',
    'blog', 'blog_api', 'blog_consumer', 'blog_operator'
]) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT 'CREATE ROLE replication LOGIN REPLICATION'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'replication') \gexec

\set password `cat /run/secrets/postgres-auth`
ALTER ROLE auth PASSWORD :'password';
\set password `cat /run/secrets/postgres-auth-api`
ALTER ROLE auth_api PASSWORD :'password';
\set password `cat /run/secrets/postgres-auth-relay`
ALTER ROLE auth_relay PASSWORD :'password';
\set password `cat /run/secrets/postgres-auth-operator`
ALTER ROLE auth_operator PASSWORD :'password';
\set password `cat /run/secrets/postgres-blog`
ALTER ROLE blog PASSWORD :'password';
\set password `cat /run/secrets/postgres-blog-api`
ALTER ROLE blog_api PASSWORD :'password';
\set password `cat /run/secrets/postgres-blog-consumer`
ALTER ROLE blog_consumer PASSWORD :'password';
\set password `cat /run/secrets/postgres-blog-operator`
ALTER ROLE blog_operator PASSWORD :'password';
\set password `cat /run/secrets/postgres-replication`
ALTER ROLE replication PASSWORD :'password';

-- Each database belongs to its owner; the migrations admit the others.
SELECT format('CREATE DATABASE %I OWNER %I', name, name)
FROM unnest(ARRAY['auth', 'blog']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
REVOKE ALL ON DATABASE auth, blog, postgres, template1 FROM PUBLIC;
