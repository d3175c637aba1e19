"""A foreign client for tracking: karrio with its connector for La Poste. Usage: tracking_client.py PACKAGES URL ID...

Prints one line of JSON: what it understood of each item, and the errors.
"""

import json
import logging
import sys

sys.path.insert(0, sys.argv[1])
logging.disable(logging.CRITICAL)
import karrio.sdk as karrio  # noqa: E402
from karrio.core.models import TrackingRequest  # noqa: E402
from karrio.mappers.laposte.settings import Settings  # noqa: E402

# The connector knows one place only; here it is another.
Settings.server_url = property(lambda _: sys.argv[2] + "/suivi/v2")
gateway = karrio.gateway["laposte"].create({"api_key": "test-key-of-an-application", "lang": "fr_FR"})
found, errors = karrio.Tracking.fetch(TrackingRequest(tracking_numbers=sys.argv[3:])).from_(gateway).parse()
print(
    json.dumps(
        {
            "found": [
                {
                    "id": item.tracking_number,
                    "status": item.status,
                    "delivered": item.delivered,
                    "codes": [event.code for event in item.events],
                    "dates": [event.date for event in item.events],
                    "country": item.info.shipment_destination_country,
                }
                for item in found
            ],
            "errors": [{"code": str(error.code), "message": error.message} for error in errors],
        }
    )
)
