"""8.3.2.4.3 step 2: what a SEND with a deferred message carries, and how it is wrapped."""

from __future__ import annotations

import pytest

from cpmspec.suite.lab import Lab
from cpmspec.suite.purpose import establishments, flows, purpose

CPIM = (
    b"From: <sip:sender@example.com>\r\nTo: <sip:user@example.com>\r\nDateTime: 2026-01-02T03:04:05Z\r\n"
    b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: %s\r\nimdn.Disposition-Notification: positive-delivery\r\n"
    b"\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\nWrapped in CPIM.\r\n"
)
NESTED = (
    b"--inner\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--inner\r\nContent-Type: application/octet-stream\r\n\r\n"
    b"\x00\x01\xfe\xff\r\n--inner--\r\n"
)
#: content type and octets of messages that are easy to damage on the way
CONTENTS = {
    "utf8": ("text/plain;charset=UTF-8", "Grüße, 世界, \U0001f4e8\r\n".encode()),
    "cpim": ("message/cpim", CPIM % b"Imdn7aF3kQ"),
    "octets": ("application/octet-stream", bytes(range(256))),
    "nested": ("multipart/mixed;boundary=inner", NESTED),
    "lines": ("text/plain", b"\r\n\nno end\r\n-------a$\r\n--x--\r\nMSRP a SEND\n\r\n\r\n"),
}


@purpose("TP_CPM_PF_DLV_V_021", "DLV-2.1", "DLV-2.2")
@flows
async def test_multipart_mixed(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { they are delivered }
      then { each SEND with content is of Content-Type multipart/mixed, and the multipart is well formed } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_022", "DLV-2a.1")
@flows
async def test_stored_headers(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for the user whose request carries every header that counts as stored }
    ensure that {
      when { it is delivered }
      then { these headers are in it, their values unchanged } }
    """
    await lab.user(establishment=establishment)
    headers = {
        "Subject": "Re: lunch, \u00e0 midi?",
        "Date": "Fri, 02 Jan 2026 03:04:05 GMT",
        "InReplyTo-Contribution-ID": "9f0c1a7e-1b2c-4d3e-8f90-0a1b2c3d4e5f",
    }
    await lab.defer(mode, headers=headers)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_023", "DLV-2a.2")
@pytest.mark.parametrize("kind", list(CONTENTS))
@flows
async def test_content_survives(lab: Lab, mode: str, establishment: str, kind: str) -> None:
    """
    with { a message deferred for the user whose content is easy to damage: text, CPIM, octets, multipart, odd lines }
    ensure that {
      when { it is delivered }
      then { its content arrives octet for octet, with its own Content-Type } }
    """
    await lab.user(establishment=establishment)
    content_type, content = CONTENTS[kind]
    await lab.defer(mode, content=content, content_type=content_type)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_024", "DLV-2a.3")
@flows
async def test_headers_and_content_belong_together(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { three messages deferred for the user, from two senders }
    ensure that {
      when { they are delivered }
      then { the headers of each stand with its own content } }
    """
    await lab.user(establishment=establishment)
    other = await lab.sender()
    await lab.defer(mode)
    await lab.defer(mode, sender=other)
    await lab.defer(mode)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_025", "DLV-2b.1", "DLV-2b.2", pics="pager_mode")
@establishments
async def test_headers_of_a_message(lab: Lab, establishment: str) -> None:
    """
    with { a pager-mode message deferred for the user }
    ensure that {
      when { it is delivered }
      then { the headers of its SIP MESSAGE stand in a valid part of type message/sip or message/sipfrag } }
    """
    await lab.user(establishment=establishment)
    await lab.defer("pager")
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_026", "DLV-2c.1", "DLV-2c.2", pics="large_message_mode")
@establishments
async def test_headers_of_an_invite(lab: Lab, establishment: str) -> None:
    """
    with { a large-mode message deferred for the user }
    ensure that {
      when { it is delivered }
      then { the headers of its SIP INVITE stand in a valid part of type message/sip or message/sipfrag } }
    """
    await lab.user(establishment=establishment)
    await lab.defer("large")
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_027", "DLV-2d.1", "DLV-2d.2", pics="large_message_mode")
@establishments
async def test_headers_of_a_send(lab: Lab, establishment: str) -> None:
    """
    with { a large-mode message deferred for the user, whose SEND asks for a success report }
    ensure that {
      when { it is delivered }
      then { the headers of the originator's MSRP SEND stand in a part of type message/msrpfrag } }
    """
    await lab.user(establishment=establishment)
    await lab.defer("large", send_headers={"Success-Report": "yes"})
    await lab.deliver()
