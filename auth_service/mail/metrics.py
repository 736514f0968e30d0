"""The Prometheus metrics of mails."""

from prometheus_client import Counter

from service_kit.process.readings import Reading

mails_total = Counter(
    "usersync_mails",
    "Attempts to send a mail, by purpose and outcome",
    ["purpose", "result"],
)
waiting = Reading("usersync_mails_waiting", "Mails in the queue, as of the last minute")
