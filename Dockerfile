FROM python:3.11-slim
WORKDIR /srv/aamc
COPY . .
RUN pip install --no-cache-dir -r requirements.txt \
 && useradd --create-home aamc && mkdir runs && chown aamc runs
USER aamc
VOLUME /srv/aamc/runs
ENTRYPOINT ["aamc"]
CMD ["run", "--router", "ppo", "--estimator", "tce"]
