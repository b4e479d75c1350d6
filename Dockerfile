# Two images: `docker build --target gateway -t aamc-gateway .` is the server alone, without torch; `docker build -t aamc .` has everything, and
# prints the help without a command (`docker run -it IMAGE bash` gives a shell). See docs/how-to/deploy.md.
FROM python:3.11-slim AS build
# An index to prefer: https://download.pytorch.org/whl/cpu has torch without CUDA
ARG PIP_EXTRA_INDEX_URL
WORKDIR /opt/aamc
COPY . .
RUN python -m venv /opt/gateway && /opt/gateway/bin/pip install --no-cache-dir -c constraints.txt . ./plugins/aamc-experiments \
    ./plugins/aamc-bandit ./plugins/aamc-baselines ./plugins/aamc-lexical ./plugins/aamc-stores ./plugins/aamc-models ./plugins/aamc-gateway

FROM python:3.11-slim AS gateway
COPY --from=build /opt/gateway /opt/gateway
# State (the log, keys, budgets, the spool of a log on a server) is in /workspace: mount a volume there
RUN useradd --create-home aamc && mkdir /workspace && chown aamc /workspace
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 XDG_STATE_HOME=/workspace
USER aamc
WORKDIR /workspace
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["aamc", "serve", "--host", "0.0.0.0", "--store", "sqlite:gateway.db"]

FROM python:3.11-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libseccomp2 make \
 && rm -rf /var/lib/apt/lists/*
ARG PIP_EXTRA_INDEX_URL
WORKDIR /opt/aamc
COPY . .
# The sources stay here, and the user who runs them may not write: without bytecode each start would compile them
RUN pip install --no-cache-dir -r requirements.txt && python -m compileall -q aamc_sdk plugins
# Any user may write, so that --user works; the Makefile of a mounted checkout uses the image's programs
RUN useradd --create-home aamc && mkdir /workspace && chmod 1777 /home/aamc /workspace
ENV HOME=/home/aamc AAMC=aamc PYTHON=python
USER aamc
WORKDIR /workspace
CMD ["aamc", "--help"]
