# One image for every process of dipper: control, workers, agents. docker-compose.yml starts them.
FROM python:3.11.13-slim-bookworm

# OpenMP, for LightGBM: agents explain with it; workers never load it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /dipper
# Packages first: they change seldom, and stay in the build cache. The lock is one, with the hashes
# of everything; what only tests need comes along.
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY streams streams
COPY features features
COPY models models
COPY monitoring monitoring
# The user below may not write here: without this each start compiles every module to bytecode anew.
RUN pip install --no-cache-dir --no-deps --editable . \
    && python -m compileall -q streams features models monitoring

# Compiled kernels are kept here: mount a volume, and a restart does not compile again.
ENV XDG_CACHE_HOME=/var/cache/dipper
RUN useradd --create-home dipper && install --directory --owner=dipper \
    /var/cache/dipper /snapshots /archive /vault
USER dipper
VOLUME /var/cache/dipper

ENTRYPOINT ["dipper"]
CMD ["--help"]
