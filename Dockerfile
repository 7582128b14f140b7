# A worker of a living image, or its command line. See docker-compose.temporal.yml and docs/cluster.md.

FROM python:3.13-slim-bookworm AS packages
COPY requirements-worker.lock .
RUN python -m venv --without-pip /venv
RUN python -m pip --python /venv install --no-cache-dir --require-hashes -r requirements-worker.lock

FROM python:3.13-slim-bookworm
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY prompts.toml pyproject.toml starter.py worker.py ./
COPY activities activities/
COPY configuration configuration/
COPY connection connection/
COPY desk desk/
COPY door door/
COPY messages messages/
COPY optimizer optimizer/
COPY runtime runtime/
COPY workflows workflows/
USER 1000:1000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python"]
CMD ["worker.py", "--help"]
