# Without a command the image prints the help; `docker run -it IMAGE bash` gives a shell. See docs/how-to/deploy.md.
FROM python:3.11-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libseccomp2 make \
 && rm -rf /var/lib/apt/lists/*
# An index to prefer: https://download.pytorch.org/whl/cpu has torch without CUDA
ARG PIP_EXTRA_INDEX_URL
WORKDIR /opt/aamc
COPY . .
RUN pip install --no-cache-dir -r requirements.txt
# Any user may write, so that --user works; the Makefile of a mounted checkout uses the image's programs
RUN useradd --create-home aamc && mkdir /workspace && chmod 1777 /home/aamc /workspace
ENV HOME=/home/aamc AAMC=aamc PYTHON=python
USER aamc
WORKDIR /workspace
CMD ["aamc", "--help"]
