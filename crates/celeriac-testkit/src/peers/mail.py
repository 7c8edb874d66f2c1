"""A server for mails at this port of the machine, who may log in with this name and password; prints each mail."""
import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP, AuthResult

PORT, LOGIN = int(sys.argv[1]), [word.encode() for word in sys.argv[2:]]


class Handler:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": message["subject"],
            "text": message.get_content().replace("\r\n", "\n"),
            "headers": {name.lower(): value for name, value in message.items()},
        }
        print("MAIL " + json.dumps(mail), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, login):
    return AuthResult(success=[login.login, login.password] == LOGIN)


def session():
    return SMTP(Handler(), authenticator=authenticate, auth_required=bool(LOGIN), auth_require_tls=False)


async def main():
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", PORT)
    print(f"LISTENS {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
