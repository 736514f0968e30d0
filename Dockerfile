# One image for every process of both services; the command says which:
# `auth-service api|relay`, `blog-service api|consumer`, `alembic -n auth|blog upgrade head`.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Without pip, which nothing needs at run time.
RUN python -m venv --without-pip /opt/venv
RUN apt-get update && apt-get install -y --no-install-recommends binutils
# Before the sources, so that a change of the code does not download the dependencies again. What
# compilers, debuggers and type checkers read makes up a third of it.
COPY requirements.txt .
RUN pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: \
        -r requirements.txt \
    && find /opt/venv -name '*.so' -exec strip --strip-debug {} + \
    && find /opt/venv \( -name '*.py[xi]' -o -name '*.p[xy][di]' -o -name '*.[ch]' \) -delete
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
RUN python -m compileall -q . && chmod -R a+rX .

FROM python:3.13-slim
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
