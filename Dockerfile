# One image for all five processes; docker-compose.yml says which process a container is. Each is checked there, not here.
#
#   docker build --build-arg TORCH=cpu .     without CUDA: about 1 GB instead of 5
FROM python:3.11-slim AS build
ARG TORCH=full
WORKDIR /source
# For the tagger's own kernels; without a compiler it runs on torch alone, slower.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /venv
# The packages first: they change seldom, the project often.
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY scripts ./scripts
COPY groundswell/__init__.py ./groundswell/
RUN UV_NO_CACHE=1 UV_LINK_MODE=copy scripts/install.sh /venv/bin/python "$TORCH" run
COPY . .
RUN /venv/bin/python -m uv pip install --python /venv/bin/python --compile-bytecode --no-cache --no-deps --no-build-isolation --reinstall-package groundswell .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 groundswell
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER groundswell
WORKDIR /home/groundswell
ENTRYPOINT ["groundswell"]
CMD ["--help"]
