"""One file a channel: `limits`, `check`, `request`, `verdict`, as contract.py says. webhook.py is the pattern, feishu.py a chat."""

from alerts.channels.contract import ChannelSpec
from groundswell.records import Channel


def channel_of(name: Channel) -> ChannelSpec:
    """The channel an endpoint names."""
    from alerts.channels import (  # they read message.py, which reads contract.py here: too early above
        alertmanager,
        dingtalk,
        discord,
        email,
        feishu,
        pagerduty,
        slack,
        teams,
        telegram,
        webhook,
        wecom,
    )

    channels: dict[Channel, ChannelSpec] = {
        "webhook": webhook,
        "feishu": feishu,
        "dingtalk": dingtalk,
        "wecom": wecom,
        "slack": slack,
        "telegram": telegram,
        "discord": discord,
        "teams": teams,
        "email": email,
        "pagerduty": pagerduty,
        "alertmanager": alertmanager,
    }
    return channels[name]
