"""The one Piccolo app: every table, one linear migration history."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from models import (
    accounts,
    agreements,
    answers,
    audit,
    bookings,
    calendars,
    ledger,
    needs,
    offerings,
    outbox,
    partners,
    places,
    plans,
    proposals,
    services,
    snapshots,
)

TABLES = [
    places.Place,
    places.PlaceClosure,
    accounts.Account,
    accounts.Role,
    accounts.Token,
    accounts.Invitation,
    accounts.ServiceKey,
    accounts.SignInFailure,
    audit.Audit,
    audit.AuditHead,
    partners.Partner,
    partners.Credential,
    partners.BlockedPartner,
    services.ServiceType,
    offerings.Offering,
    offerings.OfferingService,
    offerings.ServiceRecord,
    needs.Need,
    needs.Consent,
    bookings.Bookable,
    bookings.Booking,
    bookings.BusyTime,
    calendars.Feed,
    snapshots.Snapshot,
    plans.Plan,
    proposals.Proposal,
    ledger.Transfer,
    ledger.Entry,
    agreements.Agreement,
    agreements.Party,
    agreements.Commitment,
    agreements.Occurrence,
    agreements.AgreementEvent,
    agreements.NeedFill,
    agreements.Intake,
    agreements.Enrolment,
    answers.Answer,
    outbox.Outbox,
]

APP_CONFIG = AppConfig(
    app_name="community",
    migrations_folder_path=str(Path(__file__).parent / "migrations"),
    table_classes=TABLES,
    migration_dependencies=[],
    commands=[],
)
