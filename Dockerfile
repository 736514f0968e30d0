# One image for every process of both services; the command says which:
# `auth-service api|relay`, `blog-service api|consumer`, `alembic -n auth|blog upgrade head`.
#
# Under 200 MB unpacked (decision 70): `python3 -m deploy.trial image` measures it.

# glibc, which hashing relies on (decision 54). Debian's Python comes with its standard library
# compiled, without pip, and with Debian's security updates at each build; without the texts of
# help() and what tests import.
FROM debian:trixie-slim AS system
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
        /usr/lib/python3.*/pydoc_data /usr/lib/python3.*/test

FROM system AS build
RUN apt-get update && apt-get install -y --no-install-recommends binutils python3-pip
# Without pip, which nothing needs at run time.
RUN python3 -m venv --without-pip /opt/venv
# `otel` adds the packages that send traces (docs/telemetry.md#traces).
ARG EXTRA=
# Before the sources, so that a change of the code does not download the dependencies again.
COPY requirements*.txt ./
# Without what no process of ours loads, nearly half of it: names and lines for debuggers, what
# compilers and type checkers read, other databases, tests, a second page of documentation, a
# resolver (email-validator's, which we do not let ask), what makes modules in C, and the colours
# of 600 languages (Python's stay, for tracebacks).
RUN pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --require-hashes \
        --only-binary :all: -r "requirements${EXTRA:+-$EXTRA}.txt" \
    && cd /opt/venv/lib/python3*/site-packages \
    && find . -name '*.so*' -exec strip --strip-unneeded {} + \
    && find . \( -name '*.py[xi]' -o -name '*.p[xy][di]' -o -name '*.[ch]' \) -delete \
    && rm -r sqlalchemy/dialects/mssql sqlalchemy/dialects/mysql sqlalchemy/dialects/oracle \
        sqlalchemy/dialects/sqlite sqlalchemy/testing alembic/testing greenlet/tests \
        fastapi_offline/static/redoc* dns cffi pycparser \
    && find pygments/lexers \( -name '[!_]*.py' ! -name python.py -o -name '_*_builtins.py' \) \
        -delete \
    && /opt/venv/bin/python -m compileall -q .
ENV PATH=/opt/venv/bin:$PATH
# The two commands of [project.scripts]. Installing the project would need its build backend, which
# the runtime lock does not have.
RUN for service in auth blog; do \
        printf '#!/opt/venv/bin/python\nfrom %s_service.cli import app\napp()\n' $service \
            >/opt/venv/bin/$service-service && chmod 755 /opt/venv/bin/$service-service; \
    done
WORKDIR /app
COPY . .
# Compiled here, because at run time the file system is read-only. Readable for any
# umask of the clone.
RUN rm requirements*.txt && python -m compileall -q . && chmod -R a+rX .

FROM system
# A number, so that an orchestrator can see that it is not root. Volumes mounted at these folders
# get their owner from them.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin app \
    && install -d -o app -g app -m 700 /keys/private /keys/blog \
    && install -d -o app -g app -m 755 /keys/public /definitions
# Owned by root, so that the user that runs the code cannot change it.
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Alembic finds alembic.ini here.
WORKDIR /app
USER 10001:10001
CMD ["auth-service", "--help"]
