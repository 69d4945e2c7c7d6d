"""The published client of the hosted service, unchanged, against a running host.

Reads one JSON object from standard input: where the host is, keys and ids. Ends with an error at the first thing that is
not as the client's README and the guide of the service say.
"""

import asyncio
import io
import json
import logging
import os
import re
import sys

from appnigma_integrations_client import AppnigmaAPIError, AppnigmaClient, __version__

WORLD = json.load(sys.stdin)
BASE = WORLD["baseUrl"]
KEY = WORLD["apiKey"]
SUMMARY = {
    "connectionId", "userEmail", "userName", "orgName", "environment", "region", "status", "connectedAt", "lastActiveAt",
}
CREDENTIALS = {"accessToken", "instanceUrl", "environment", "region", "tokenType", "expiresAt"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
QUERY = {
    "method": "GET",
    "path": "/services/data/v59.0/query",
    "query": {"q": "SELECT Id, Name FROM Account LIMIT 10"},
}


def client(key=KEY, **more):
    return AppnigmaClient(api_key=key, base_url=BASE, **more)


async def refused(status, code, call):
    """The call must fail with this status and code. Gives the error."""
    try:
        answer = await call
    except AppnigmaAPIError as error:
        assert (error.status_code, error.error) == (status, code), (
            f"wanted {status} {code}, got {error.status_code} {error.error}: {error.message}"
        )
        assert error.message and str(error) == error.message
        assert error.response_body["error"] == code and error.response_body["message"] == error.message
        details = error.get_details()
        assert details["error"] == code and details["message"] == error.message
        assert ("planLimit" in details) == (status == 429)
        return error
    raise AssertionError(f"wanted {status} {code}, got an answer: {answer}")


async def quick_start():
    """README, "Quick Start": integration_id given, explicit close."""
    one = AppnigmaClient(api_key=KEY, base_url=BASE + "/")
    credentials = await one.get_connection_credentials(
        connection_id=WORLD["sarah"], integration_id=WORLD["integrationId"]
    )
    assert set(credentials) == CREDENTIALS, credentials
    assert all(isinstance(value, str) for value in credentials.values())
    assert credentials["accessToken"].startswith("00D") and "!" in credentials["accessToken"]
    assert credentials["instanceUrl"] == WORLD["instanceUrl"]
    assert (credentials["environment"], credentials["tokenType"]) == ("production", "Bearer")
    assert credentials["region"] == "USA123", credentials["region"]
    assert TIME.fullmatch(credentials["expiresAt"]), credentials["expiresAt"]
    response = await one.proxy_salesforce_request(
        connection_id=WORLD["sarah"], request_data=QUERY, integration_id=WORLD["integrationId"]
    )
    assert response["done"] is True and len(response["records"]) == 10, response
    await one.close()
    await one.close()
    # It opens a new session when it is used again.
    assert await one.get_connection_credentials(WORLD["sarah"]) == credentials
    await one.close()


async def context_manager():
    """README, "Using Async Context Manager"."""
    async with client() as one:
        credentials = await one.get_connection_credentials(WORLD["sarah"])
        response = await one.proxy_salesforce_request(WORLD["sarah"], QUERY)
        assert credentials["accessToken"] and response["totalSize"] == 10
    assert one._session.closed


async def keys():
    """README, "Authentication": the key from the environment, from the constructor, from nowhere."""
    os.environ["APPNIGMA_API_KEY"] = KEY
    async with AppnigmaClient(base_url=BASE) as one:
        assert (await one.list_connections(limit=1))["totalCount"] == 1
    # The constructor's key comes first.
    async with client("nonsense") as one:
        await refused(401, "key_malformed", one.list_connections())
    del os.environ["APPNIGMA_API_KEY"]
    try:
        AppnigmaClient(base_url=BASE)
    except ValueError as error:
        assert "APPNIGMA_API_KEY" in str(error)
    else:
        raise AssertionError("a client without a key")


async def listing():
    """Every filter, the limit, and a walk over more than one page."""
    async with client() as one:
        first = await one.list_connections()
        assert len(first["connections"]) == first["totalCount"] == 20, first["totalCount"]
        for item in first["connections"]:
            assert set(item) == SUMMARY, item
            assert all(isinstance(value, str) for value in item.values()), item
            assert TIME.fullmatch(item["connectedAt"]) and TIME.fullmatch(item["lastActiveAt"])
        second = await one.list_connections(cursor=first["nextCursor"])
        assert "nextCursor" not in second
        both = first["connections"] + second["connections"]
        ids = [item["connectionId"] for item in both]
        assert len(ids) == len(set(ids)) and set(ids) == set(WORLD["connectionIds"]), len(ids)
        times = [item["connectedAt"] for item in both]
        assert times == sorted(times, reverse=True)

        walked, cursor, pages = [], None, 0
        while True:
            page = await one.list_connections(status="connected", environment="production", limit=4, cursor=cursor)
            assert page["totalCount"] == len(page["connections"]) <= 4
            walked += [item["connectionId"] for item in page["connections"]]
            pages += 1
            cursor = page.get("nextCursor")
            if cursor is None:
                break
            assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor), cursor
        assert walked == ids and pages == -(-len(ids) // 4), (pages, len(walked))

        found = await one.list_connections(search="SARAH@Acme")
        assert [item["connectionId"] for item in found["connections"]] == [WORLD["sarah"]]
        sarah = found["connections"][0]
        assert sarah["userEmail"] == "sarah@acme.com" and sarah["userName"] == "Sarah Chen", sarah
        assert sarah["orgName"] == "Acme Corp" and sarah["region"] == "USA123", sarah
        assert sarah["environment"] == "production" and sarah["status"] == "connected", sarah
        assert (await one.list_connections(search="%"))["totalCount"] == 0
        assert (await one.list_connections(search="user_"))["totalCount"] == 0
        assert (await one.list_connections(search="user", limit=100))["totalCount"] == len(ids) - 2
        assert (await one.list_connections(environment="sandbox"))["totalCount"] == 0
        for status in ("expired", "revoked", "deleted"):
            assert (await one.list_connections(status=status)) == {"connections": [], "totalCount": 0}
        scoped = await one.list_connections(integration_id=WORLD["integrationId"], limit=100)
        assert scoped["totalCount"] == len(ids)

        await refused(400, "limit_invalid", one.list_connections(limit=0))
        await refused(400, "limit_invalid", one.list_connections(limit=-1))
        await refused(400, "limit_too_large", one.list_connections(limit=101))
        await refused(400, "filter_invalid", one.list_connections(status="alive"))
        await refused(400, "filter_invalid", one.list_connections(environment="moon"))
        await refused(400, "cursor_invalid", one.list_connections(cursor="nonsense"))
        await refused(400, "cursor_mismatch", one.list_connections(cursor=first["nextCursor"], status="connected"))

    async with client(WORLD["mixed"]["apiKey"]) as one:
        assert await statuses(one) == {"connected": 1, "expired": 1, "revoked": 1, "deleted": 1}
        # Deleted ones are listed only when they are asked for.
        everything = await one.list_connections(environment="sandbox")
        assert sorted(item["status"] for item in everything["connections"]) == ["connected", "expired", "revoked"]
        assert everything["connections"][-1]["environment"] == "sandbox"
        # Another integration's cursor.
        await refused(400, "cursor_invalid", one.list_connections(cursor=first["nextCursor"]))


async def statuses(one):
    counts = {}
    for status in ("connected", "expired", "revoked", "deleted"):
        counts[status] = (await one.list_connections(status=status))["totalCount"]
    return counts


async def records():
    """README, "Salesforce-Specific Examples", and the guide's Opportunity and pipeline."""
    async with client() as one:
        async def call(method, path, **more):
            path = "/services/data/v59.0" + path
            return await one.proxy_salesforce_request(WORLD["sarah"], {"method": method, "path": path, **more})

        contact = await call("POST", "/sobjects/Contact", data={
            "FirstName": "John", "LastName": "Doe", "Email": "john.doe@example.com", "Phone": "555-1234",
        })
        assert contact["success"] is True and contact["id"].startswith("003"), contact
        path = "/sobjects/Contact/" + contact["id"]
        # Salesforce answers 204 to both; the client must take that as success.
        assert await call("PATCH", path, data={"Email": "newemail@example.com", "Phone": "555-5678"}) is None
        read = await call("GET", path)
        assert (read["Email"], read["Phone"], read["LastName"]) == ("newemail@example.com", "555-5678", "Doe"), read
        found = await call("GET", "/query", query={
            "q": f"SELECT Id, Name, Email FROM Contact WHERE Id = '{contact['id']}' LIMIT 10",
        })
        assert found["records"][0]["Email"] == "newemail@example.com", found
        assert await call("DELETE", path) is None
        # The provider's own error: its status and its body, which is a list.
        try:
            await call("GET", path)
            raise AssertionError("the record is still there")
        except AppnigmaAPIError as error:
            assert (error.status_code, error.error) == (404, "APIError"), error
            assert error.response_body[0]["errorCode"] == "ENTITY_IS_DELETED", error.response_body

        deal = await call("POST", "/sobjects/Opportunity", data={
            "Name": "Acme Deal Q2", "StageName": "Prospecting", "CloseDate": "2026-06-30", "Amount": 50000,
        })
        assert deal["id"].startswith("006"), deal
        pipeline = await call("GET", "/query", query={
            "q": "SELECT Id, Name, Amount, StageName FROM Opportunity "
                 "WHERE IsClosed = false ORDER BY Amount DESC LIMIT 25",
        })
        mine = [record for record in pipeline["records"] if record["Id"] == deal["id"]]
        assert mine and mine[0]["Amount"] == 50000, pipeline

        # A query in the path and one beside it are merged; numbers and nulls are allowed; data is left out with GET.
        echo = await one.proxy_salesforce_request(WORLD["sarah"], {
            "method": "GET", "path": "/services/apexrest/echo?a=1", "query": {"b": 2, "c": None, "d": True},
            "data": {"not": "sent"},
        })
        assert "a=1&b=2&d=true" in json.dumps(echo), echo


async def wrong_requests():
    """400: what is missing or wrong is told before anything is sent."""
    async with client() as one:
        async def call(request, connection=WORLD["sarah"]):
            return await one.proxy_salesforce_request(connection, request)

        path = "/services/data/v59.0/query"
        await refused(400, "field_missing", call({}))
        await refused(400, "field_missing", call({"method": "GET"}))
        await refused(400, "field_missing", call({"path": path}))
        await refused(400, "field_unknown", call({"method": "GET", "path": path, "body": {}}))
        await refused(400, "field_invalid", call({"method": "get", "path": path}))
        await refused(400, "field_invalid", call({"method": "CONNECT", "path": path}))
        await refused(400, "field_invalid", call({"method": 1, "path": path}))
        await refused(400, "field_invalid", call({"method": "GET", "path": path, "query": "q=1"}))
        await refused(400, "body_invalid", call([]))
        await refused(400, "path_empty", call({"method": "GET", "path": ""}))
        await refused(400, "path_not_absolute", call({"method": "GET", "path": "services/data"}))
        await refused(400, "path_not_absolute", call({"method": "GET", "path": "https://evil.example/services"}))
        await refused(400, "path_has_authority", call({"method": "GET", "path": "//evil.example/services"}))
        await refused(400, "path_dot_segment", call({"method": "GET", "path": "/services/../secur/logout"}))
        await refused(400, "id_empty", call(QUERY, ""))
        await refused(400, "id_invalid_character", call(QUERY, "no such id!"))
        await refused(400, "id_invalid_character", one.get_connection_credentials("no.such.id"))
        await refused(400, "id_invalid_character", one.get_connection_credentials("a%00b"))
        await refused(400, "id_too_long", one.get_connection_credentials("x" * 129))
        await refused(400, "id_invalid_character", one.list_connections(integration_id="not/an/id"))
        await refused(400, "key_in_url", one.get_connection_credentials(KEY))


async def wrong_keys():
    """401 and 403: keys that are wrong, and keys of somebody else."""
    mixed = WORLD["mixed"]
    for key, code in [
        ("nonsense", "key_malformed"),
        (KEY[:-1], "key_malformed"),
        (KEY[:-1] + ("0" if KEY[-1] != "0" else "1"), "key_malformed"),
        (WORLD["foreignKey"], "key_unknown"),
        (WORLD["revokedKey"], "key_revoked"),
    ]:
        async with client(key) as one:
            await refused(401, code, one.list_connections())
            await refused(401, code, one.get_connection_credentials(WORLD["sarah"]))
            await refused(401, code, one.proxy_salesforce_request(WORLD["sarah"], QUERY))
    async with client(WORLD["publicKey"]) as one:
        await refused(403, "key_insufficient", one.get_connection_credentials(WORLD["sarah"]))
    async with client() as one:
        other = mixed["integrationId"]
        await refused(403, "integration_mismatch", one.list_connections(integration_id=other))
        await refused(403, "integration_mismatch", one.get_connection_credentials(WORLD["sarah"], other))
        await refused(403, "integration_mismatch", one.proxy_salesforce_request(WORLD["sarah"], QUERY, other))
        await refused(403, "integration_mismatch", one.get_connection_credentials(mixed["connected"]))
        await refused(403, "integration_mismatch", one.proxy_salesforce_request(mixed["connected"], QUERY))


async def dead_connections():
    """401 for those that the user can connect again, 404 for those that are gone."""
    mixed = WORLD["mixed"]
    async with client(mixed["apiKey"]) as one:
        for status in ("expired", "revoked"):
            for call in (
                one.get_connection_credentials(mixed[status]),
                one.proxy_salesforce_request(mixed[status], QUERY),
            ):
                error = await refused(401, "connection_" + status, call)
                assert error.response_body["reconnectUrl"].startswith(BASE + "/connect/"), error.response_body
                assert "reconnect" in error.message
        for gone in (mixed["deleted"], "conn_unknown", "x"):
            await refused(404, "connection_not_found", one.get_connection_credentials(gone))
            await refused(404, "connection_not_found", one.proxy_salesforce_request(gone, QUERY))


async def plan_limit():
    """429: README's example and the guide's, with the figures."""
    limited = WORLD["limited"]
    async with client(limited["apiKey"]) as one:
        for _ in range(limited["limit"]):
            await one.proxy_salesforce_request(limited["connectionId"], QUERY)
        error = await refused(
            429, "plan_limit_exceeded", one.proxy_salesforce_request(limited["connectionId"], QUERY)
        )
        details = error.get_details()
        assert details["planLimit"] == details["currentUsage"] == limited["limit"], details
        assert "salesforce/production" in details["offerings"], details
        # Only proxied calls count.
        await one.get_connection_credentials(limited["connectionId"])


async def debugging():
    """README, "Debug Logging": requests and answers are shown, the key is not."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("appnigma_integrations_client")
    logger.addHandler(handler)
    async with client(debug=True) as one:
        await one.list_connections(limit=1)
        await one.proxy_salesforce_request(WORLD["sarah"], QUERY)
    logger.removeHandler(handler)
    assert "/api/v1/proxy/salesforce - Status: 200" in text.getvalue(), text.getvalue()
    assert KEY not in text.getvalue()


async def unreachable():
    """What is not the host's: status 0, as the client says."""
    async with AppnigmaClient(api_key=KEY, base_url="http://127.0.0.1:9") as one:
        try:
            await one.list_connections()
            raise AssertionError("somebody answers")
        except AppnigmaAPIError as error:
            assert (error.status_code, error.error) == (0, "NetworkError")


async def main():
    assert __version__ == "0.1.3", __version__
    for part in (
        quick_start, context_manager, keys, listing, records, wrong_requests, wrong_keys, dead_connections, plan_limit,
        debugging, unreachable,
    ):
        print(part.__name__, flush=True)
        await part()
    print("all done")


asyncio.run(main())
